# What a lab's script does: reads its console with pyserial, line by line, and switches off at the text.
#   reader.py PORT scpi|http|fifo WHERE      WHERE: a TCP port of 127.0.0.1, or the FIFO a program writes into
import http.client
import re
import socket
import subprocess
import sys

import serial

port, how, where = sys.argv[1:4]
console = serial.Serial(port, 115200)
pattern = re.compile(rb"cut here, at number \d+$")

if how == "scpi":
    supply = socket.create_connection(("127.0.0.1", int(where)))
    supply.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def off():
        supply.sendall(b"OUTP OFF\n")

elif how == "http":
    daemon = http.client.HTTPConnection("127.0.0.1", int(where))
    daemon.connect()

    def off():
        daemon.request("GET", "/power/control/off?hostname=pdu&port=1")
        daemon.getresponse().read()

else:

    def off():
        subprocess.run(["/bin/sh", "-c", "echo off >" + where], check=True)


print("ready", flush=True)
while True:
    line = console.readline()
    if pattern.search(line.rstrip(b"\r\n")):
        off()
