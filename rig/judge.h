/*
 * The judge: observations of one trial in, findings out. A pure function, the same for every
 * scenario: no I/O, no time, no state. docs/findings.md says what each finding means to a person.
 *
 * Observations (an object; whoever fills it in leaves out, or sets to null, what was not observed;
 * nothing is concluded from what was not observed):
 *
 *   "from":   VERSION         the release the board held, proven
 *   "to":     VERSION         the release of the update
 *   "expect": "upgrade" | "upgrade-via" | "downgrade" | "refuse" | "revert"     (plan.h)
 *                             revert: "to" must give itself up, and "from" runs at the end
 *   "path":   [VERSION…]      upgrade-via: the releases gone through; the last is "to"
 *   "limits": {"ready_within_ms": N, "max_resets": N}
 *   "bench":  TEXT            the bench failed: the one finding is then bench-error
 *   "cut":    null, or        power was cut during the update
 *     {"requested": CUTS, "operations": N of the uncut update,
 *      "commit": N, the operation from whose end on the new release must run; null: not known,
 *      "new_at": N, "old_at": N, what other cuts of this transition have shown so far, or null: the
 *      fewest operations after which one ended with the new release, and the most after which one
 *      ended with the old. The whole operations done ("landed".done) count, and for new_at an
 *      operation that was torn counts as done: whether it took effect cannot be told,
 *      "fired": BOOL, false: the update ended before the cut, or, with "landed" of the first of
 *      several cuts, the recovery before a later one,
 *      "landed": as landing_check_to_json() gives it, or null when flash was not compared}
 *   "update": {"accepted": BOOL, "error": TEXT}       what the DUT said; null when it was cut. Not
 *                             accepted before a cut could fire: with "cut", "fired" being false
 *   "boots":  [BOOT…]         the judged boots in order, without a probe; the last is where it
 *                             came to rest
 *   "unanswered": TEXT        after a boot that was ready, the first question that the device gave
 *                             no answer to, or none that can be one, and what came instead
 *   "primary": FLASH          read back after the last boot
 *   "user_data": {"ok": BOOL, "seen": TEXT}           after the last boot
 *   "status": {"slots": [{"slot": N, "version": V, "hash": HEX, "active", "confirmed", "pending",
 *              "permanent", "bootable": BOOL}…]}      what the DUT reports, after the last boot
 *   "fallback": FLASH         the second slot, read back with "primary"; "status" says whether
 *                             it matters
 *   "reboot": {"boot": BOOT, "primary": FLASH, "user_data": {…}}      one more clean reboot
 *   "retry":  {"accepted": BOOL, "error": TEXT, "boot": BOOT, "primary": FLASH, "user_data": {…}}
 *                             the same update given again, with no help
 *   "later":  {"to": V, "accepted", "error", "boot", "primary", "user_data"}
 *                             an update to a later release, after the retry
 *   "writes": {"outside": [{"op": N, "address": A, "kind": TEXT}…], "unerased": [{"op": N,
 *              "address": A}…], "outside_total": N, "unerased_total": N, "checked": N}
 *                             the operations that broke a rule, the first of them when there are
 *                             more than are listed, and how many were looked at (flash_rules.h)
 *
 *   BOOT:  {"ready": BOOL, "resets": N, "ms": N, "version": V or null}
 *   FLASH: {"release": VERSION that stands there byte for byte, or null,
 *           "mixed": BOOL, parts of several releases stand there,
 *           "version": V in the image's header or null, "hash": HEX or null, "detail": TEXT}
 *
 * Findings: an array of {"name", "ok", "what": the claim in words, "expected", "seen"}; the last
 * two are text, and null when ok. A claim that does not apply to the observations is left out, and
 * so are claims about the bench and the trial itself that hold; of several names for one cause only
 * the most telling is not ok. Versions are compared as they are written.
 */
#ifndef RIG_JUDGE_H
#define RIG_JUDGE_H

#include <jansson.h>
#include <stddef.h>

enum verdict { VERDICT_PASS, VERDICT_FAIL, VERDICT_ERROR, VERDICT_INCONCLUSIVE, VERDICT_COUNT };

/*
 * Returns a new array of findings; NULL only when out of memory. Observations that are not of the
 * shape above give the one finding bench-error: that is the rig's fault and never the DUT's.
 */
json_t *judge(const json_t *observations);

/*
 * The verdict these findings amount to: error if one of the bench is not ok; else fail if one of
 * the DUT is not; else inconclusive if one says that too little was seen, or there is none; else
 * pass. A finding of a name that is not in the table counts as the DUT's.
 */
enum verdict judge_verdict(const json_t *findings);

/* "pass", "fail", "error", "inconclusive", as in the journal. */
const char *verdict_name(enum verdict verdict);

/*
 * The table: name of finding i and the verdict it gives when it is not ok; NULL from the end on.
 */
const char *judge_finding_name(size_t i, enum verdict *when_not_ok);

#endif
