package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports are taken from below the range that Linux takes them from by itself
// (net.ipv4.ip_local_port_range), so that nobody takes the port of a program
// while that is down.
const firstPort, lastPort = 20000, 32000

// FreePort returns an address on loopback that is free.
func FreePort(t testing.TB, network string) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.N(lastPort-firstPort))
		var err error
		if network == "udp" {
			var c net.PacketConn
			if c, err = net.ListenPacket("udp", addr); err == nil {
				_ = c.Close()
			}
		} else {
			var l net.Listener
			if l, err = net.Listen("tcp", addr); err == nil {
				_ = l.Close()
			}
		}
		if err == nil {
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}
