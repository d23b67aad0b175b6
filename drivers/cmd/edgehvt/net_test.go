//go:build linux && amd64

package main_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
	"github.com/edgeio/edgeio/drivers/mirage/solo5/guest"
)

// EnvUDP makes the test binary a client: it sends to an address and prints the answer.
const envUDP = "EDGEHVT_TEST_UDP"

// TestUDPClient is no test, but what TestNet runs in a network namespace.
func TestUDPClient(t *testing.T) {
	address := os.Getenv(envUDP)
	if address == "" {
		t.Skip("for TestNet")
	}
	c, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for i := range 200 {
		want := fmt.Appendf(nil, "message %d %s", i, strings.Repeat("x", 7*i))
		got := make([]byte, 2000)
		// A datagram may get lost while the guest comes up.
		for try := 0; ; try++ {
			_, _ = c.Write(want)
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			n, err := c.Read(got)
			if err == nil && bytes.Equal(got[:n], want) {
				break
			}
			if try == 10 {
				t.Fatalf("answer to message %d: %q, %v", i, got[:n], err)
			}
		}
	}
}

// namespace makes a network namespace with a tap device that is up.
func namespace(t *testing.T) (name string) {
	t.Helper()
	name = fmt.Sprintf("edgehvt-%d", os.Getpid())
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	ip("netns", "add", name)
	t.Cleanup(func() { ip("netns", "del", name) })
	ip("-n", name, "tuntap", "add", "tap0", "mode", "tap", "user", "65534")
	ip("-n", name, "addr", "add", "10.231.0.1/24", "dev", "tap0")
	ip("-n", name, "link", "set", "tap0", "up")
	return name
}

func TestNet(t *testing.T) {
	requireKVM(t)
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("needs root and ip")
	}
	name := namespace(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	image := guest.HVT([]solo5.Device{{Name: "disk", Type: solo5.Block}, {Name: "service", Type: solo5.Net}}, guest.Print("up\n"), guest.EchoNet("service"))
	disk := t.TempDir() + "/disk"
	if err := os.WriteFile(disk, make([]byte, 512), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &tender{t: t, cmd: exec.Command("ip", "netns", "exec", name, path, "--mem=16", "--uid=65534", "--gid=65534",
		"--block:disk="+disk, "--net:service=tap0", "--net-mac:service=02:00:00:00:00:07", "--", save(t, image), "--ipv4=10.231.0.27/24", "--ipv4-gateway=10.231.0.1")}
	p.cmd.Stderr = &p.stderr
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("stderr of edgehvt: %s", p.stderr.String())
		}
	}()
	p.expect("up\n")
	client := exec.Command("ip", "netns", "exec", name, os.Args[0], "-test.run=^TestUDPClient$", "-test.v")
	client.Env = append(os.Environ(), envUDP+"=10.231.0.27:7")
	if out, err := client.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
		t.Errorf("UDP: %v\n%s", err, out)
	}
	out, err := exec.Command("ip", "-n", name, "neigh", "show").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("02:00:00:00:00:07")) {
		t.Errorf("neighbours: %s, %v", out, err)
	}
	if ping, err := exec.LookPath("ping"); err == nil {
		if out, err := exec.Command("ip", "netns", "exec", name, ping, "-c", "3", "-i", "0.05", "-W", "2", "10.231.0.27").CombinedOutput(); err != nil {
			t.Errorf("ping: %v\n%s", err, out)
		}
	}
	if got := p.status("Seccomp"); got != "2" {
		t.Errorf("Seccomp is %s", got)
	}
}
