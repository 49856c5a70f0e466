#include "digest.h"

#include "err.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdint.h>
#include <unistd.h>

int digest_file(const char *path, char hex[DIGEST_HEX_SIZE], struct err *e)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t buf[65536], digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx ctx;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(e, ERR_IO, errno, "%s", path);
	sha256_init(&ctx);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		sha256_update(&ctx, (size_t)n, buf);
	if (n < 0) {
		err_errno(e, ERR_IO, errno, "%s", path);
		close(fd);
		return -ERR_IO;
	}
	close(fd);
	sha256_digest(&ctx, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++) {
		hex[2 * i] = digits[digest[i] >> 4];
		hex[2 * i + 1] = digits[digest[i] & 15];
	}
	hex[2 * sizeof(digest)] = '\0';
	return 0;
}

json_t *digest_of_file(const char *path)
{
	char hex[DIGEST_HEX_SIZE];
	struct err e;

	return json_pack(
		"{s:s, s:s?}", "path", path, "sha256", digest_file(path, hex, &e) ? NULL : hex);
}

json_t *digest_images(const json_t *images)
{
	json_t *hashed = json_object(), *path;
	const char *name;

	json_object_foreach ((json_t *)(uintptr_t)images, name, path)
		json_object_set_new(hashed, name, digest_of_file(json_string_value(path)));
	return hashed;
}

json_t *digest_releases(const json_t *manifest)
{
	json_t *copy = json_deep_copy(manifest), *release;
	size_t i;

	json_array_foreach (json_object_get(copy, "releases"), i, release)
		json_object_set_new(
			release, "images", digest_images(json_object_get(release, "images")));
	return copy ? copy : json_null();
}
