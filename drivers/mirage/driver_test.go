package mirage

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/mirage/solo5"
	"github.com/edgeio/edgeio/drivers/mirage/solo5/guest"
)

func TestEnds(t *testing.T) {
	require(t, solo5.HVT, "kvm")
	d := newDriver(t, Config{})
	for name, tt := range map[string]struct {
		steps  []guest.Step
		args   []string
		code   int
		reason string
		out    string
	}{
		"exit":      {[]guest.Step{guest.Print("hello\n"), guest.Exit(3)}, nil, 3, "", "hello\n"},
		"usage":     {[]guest.Step{guest.Exit(64)}, nil, 64, "arguments", ""},
		"arguments": {[]guest.Step{guest.PrintCommandLine()}, []string{"--hello=x y", "two"}, 0, "", "--hello=x y two"},
		"abort":     {[]guest.Step{guest.Abort()}, nil, 255, "aborted", ""},
		"crash":     {[]guest.Step{guest.Print("here\n"), guest.Crash()}, nil, 1, "the guest has crashed", "here\n"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := save(t, guest.HVT(nil, tt.steps...))
			spec.Args = tt.args
			exit, out := run(t, d, spec)
			if exit.Code != tt.code || !strings.Contains(exit.Reason, tt.reason) || tt.reason == "" && exit.Reason != "" || out != tt.out {
				t.Errorf("exit %+v, output %q; want code %d, reason %q, output %q", exit, out, tt.code, tt.reason, tt.out)
			}
		})
	}
}

// TestMemory: a guest has what was asked for, and no more.
func TestMemory(t *testing.T) {
	require(t, solo5.HVT, "kvm")
	d := newDriver(t, Config{})
	for _, tt := range []struct {
		bytes int64
		touch uint32
		code  int
	}{{0, 29 << 20, 0}, {0, 33 << 20, 1}, {10_000_000, 8 << 20, 0}, {10_000_000, 10 << 20, 1}, {64 << 20, 61 << 20, 0}} {
		spec := save(t, guest.HVT(nil, guest.Touch(tt.touch), guest.Exit(0)))
		spec.ID = fmt.Sprintf("memory-%d-%d", tt.bytes, tt.touch)
		spec.Resources.MemoryBytes = tt.bytes
		if exit, _ := run(t, d, spec); exit.Code != tt.code {
			t.Errorf("with %d bytes, touching %d: %+v, want code %d", tt.bytes, tt.touch, exit, tt.code)
		}
	}
	spec := save(t, guest.HVT(nil, guest.Exit(0)))
	spec.Resources.MemoryBytes = 1 << 40
	if _, err := d.Create(t.Context(), spec, nil); !errors.Is(err, drivers.ErrInvalid) {
		t.Errorf("Create with 1 TiB of memory: %v, want ErrInvalid", err)
	}
	if _, err := guestMemory(4<<20, solo5.Image{EndBytes: 4 << 20}); err == nil {
		t.Error("an image gets no memory for a stack")
	}
}

func TestRefused(t *testing.T) {
	require(t, solo5.HVT, "kvm")
	d := newDriver(t, Config{})
	plain := guest.HVT(nil, guest.Exit(0))
	block := guest.HVT([]solo5.Device{{Name: "storage", Type: solo5.Block}}, guest.Exit(0))
	for name, tt := range map[string]struct {
		image  []byte
		change func(*drivers.Spec)
		class  error
		says   string
	}{
		"env":       {plain, func(s *drivers.Spec) { s.Env = map[string]string{"A": "b"} }, drivers.ErrUnsupported, "args"},
		"command":   {plain, func(s *drivers.Spec) { s.Command = []string{"sh"} }, drivers.ErrUnsupported, "one program"},
		"workdir":   {plain, func(s *drivers.Spec) { s.Workdir = "/" }, drivers.ErrUnsupported, "no files"},
		"user":      {plain, func(s *drivers.Spec) { s.User = "0" }, drivers.ErrUnsupported, "no users"},
		"ports":     {plain, func(s *drivers.Spec) { s.Ports = []drivers.Port{{Protocol: "tcp", Port: 80}} }, drivers.ErrInvalid, "no net device"},
		"long args": {plain, func(s *drivers.Spec) { s.Args = []string{strings.Repeat("x", 8192)} }, drivers.ErrInvalid, "8191"},
		"block":     {block, func(*drivers.Spec) {}, drivers.ErrUnsupported, "drivers.mirage.block_mb"},
		"spt":       {retarget(solo5.SPT, 2), func(*drivers.Spec) {}, drivers.ErrImage, "solo5-spt"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(solo5SPT); name == "spt" && err == nil {
				t.Skip("there is a tender for spt")
			}
			spec := save(t, tt.image)
			tt.change(&spec)
			_, err := d.Create(t.Context(), spec, nil)
			if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Create: %v, want %v with %q", err, tt.class, tt.says)
			}
			if left, _ := d.List(t.Context()); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestBlock: a guest reads what it has written. It may not write beyond the end.
func TestBlock(t *testing.T) {
	require(t, solo5.HVT, "kvm")
	d := newDriver(t, Config{BlockBytes: 1_000_000})
	image := guest.HVT([]solo5.Device{{Name: "storage", Type: solo5.Block}},
		guest.WriteBlock("storage", 512, "kept\n"), guest.PrintBlock("storage", 512, 5), guest.Exit(4))
	if exit, out := run(t, d, save(t, image)); exit.Code != 4 || out != "kept\n" {
		t.Errorf("exit %+v, output %q", exit, out)
	}
	image = guest.HVT([]solo5.Device{{Name: "storage", Type: solo5.Block}}, guest.WriteBlock("storage", 1_000_448, "x"))
	beyond := save(t, image)
	beyond.ID = "beyond"
	if exit, _ := run(t, d, beyond); exit.Code != guest.StatusBlock {
		t.Errorf("exit %+v of a guest that writes beyond the end", exit)
	}
}

// TestVirtio runs guests on QEMU.
func TestVirtio(t *testing.T) {
	require(t, solo5.Virtio, "qemu")
	d := newDriver(t, Config{})
	if exit, out := run(t, d, save(t, guest.Virtio(guest.Print("hello\n"), guest.Exit(3)))); exit.Code != 3 || !strings.HasPrefix(out, "hello\n") {
		t.Errorf("exit %+v, output %q; want code 3", exit, out)
	}
	if exit, _ := run(t, d, save(t, guest.Virtio(guest.Abort()))); exit.Code != 255 || exit.Reason == "" {
		t.Errorf("exit %+v of a guest that aborts", exit)
	}
	if exit, _ := run(t, d, save(t, guest.Virtio(guest.Crash()))); exit.Code != 255 || !strings.Contains(exit.Reason, "crashed") {
		t.Errorf("exit %+v of a guest that crashes", exit)
	}
	h := start(t, d, save(t, guest.Virtio(guest.Print("up\n"), guest.SleepForever())))
	waitOutput(t, d, h, "up\n")
	if s, err := d.Stats(t.Context(), h); err != nil || s.MemoryBytes == 0 {
		t.Errorf("Stats: %+v, %v", s, err)
	}
	if err := d.Stop(t.Context(), h, drivers.StopOptions{Grace: 20 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if st, err := d.Status(t.Context(), h); err != nil || st.Exit.Code != 143 {
		t.Errorf("Status: %+v, %v; want code 143", st, err)
	}
}

// TestCrashLoop: a workload is removed while it is started again and again.
func TestCrashLoop(t *testing.T) {
	require(t, solo5.HVT, "kvm")
	d := newDriver(t, Config{})
	h := start(t, d, save(t, guest.HVT(nil, guest.Print("round\n"), guest.Crash())))
	looping := make(chan error)
	go func() {
		for {
			if err := d.Start(t.Context(), h); err != nil {
				looping <- err
				return
			}
		}
	}()
	waitOutput(t, d, h, "round\nround\nround\n")
	for {
		err := errors.Join(d.Stop(t.Context(), h, drivers.StopOptions{}), d.Remove(t.Context(), h))
		if err == nil {
			break
		}
		if !errors.Is(err, drivers.ErrConflict) {
			t.Fatal(err)
		}
	}
	if err := <-looping; !errors.Is(err, drivers.ErrNotFound) {
		t.Errorf("Start after Remove: %v, want ErrNotFound", err)
	}
}

// netEnv makes TestPorts run in a network namespace of its own.
const netEnv = "EDGEIO_TEST_MIRAGE_NET"

// TestPorts reaches a guest on its own address and on a mapped port.
func TestPorts(t *testing.T) {
	require(t, solo5.HVT, "kvm")
	d := newDriver(t, Config{})
	if err := d.network.usable(true); err != nil {
		t.Skip(err)
	}
	if os.Getenv(netEnv) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestPorts$", "-test.v")
		cmd.Env = append(os.Environ(), netEnv+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		out, err := cmd.CombinedOutput()
		if t.Logf("%s", out); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := setUp("lo"); err != nil {
		t.Fatal(err)
	}
	image := guest.HVT([]solo5.Device{{Name: "service", Type: solo5.Net}}, guest.Print("up\n"), guest.EchoNet("service"))
	spec := save(t, image)
	spec.Ports = []drivers.Port{{Name: "echo", Protocol: "udp", Port: 7}}
	h := start(t, d, spec)
	waitOutput(t, d, h, "up\n")
	st, err := d.Status(t.Context(), h)
	if err != nil || len(st.Ports) != 1 || st.Ports[0].HostPort == 0 || st.Address != "10.97.0.2" {
		t.Fatalf("Status: %+v, %v; want a port and an address", st, err)
	}
	echo(t, st.Address+":7")
	echo(t, fmt.Sprintf("127.0.0.1:%d", st.Ports[0].HostPort))

	// A second guest gets its own; an agent that starts anew finds all of it.
	second := save(t, image)
	second.ID = "second"
	second.Ports = []drivers.Port{{Protocol: "udp", Port: 7, HostPort: st.Ports[0].HostPort}}
	if _, err := d.Create(t.Context(), second, nil); !errors.Is(err, drivers.ErrConflict) {
		t.Errorf("Create with a taken port: %v, want ErrConflict", err)
	}
	second.Ports = nil
	other := newDriver(t, Config{Dir: d.Config().Dir})
	h2 := start(t, other, second)
	waitOutput(t, other, h2, "up\n")
	if st, err := other.Status(t.Context(), h2); err != nil || st.Address != "10.97.0.3" {
		t.Errorf("Status of the second: %+v, %v", st, err)
	}
	echo(t, "10.97.0.3:7")
	given := save(t, image)
	given.ID, given.Args = "given", []string{"--ipv4=10.97.0.3/24"}
	if _, err := other.Create(t.Context(), given, nil); !errors.Is(err, drivers.ErrConflict) {
		t.Errorf("Create with a taken address: %v, want ErrConflict", err)
	}
	given.Args = []string{"--ipv4=192.0.2.1/24"}
	if _, err := other.Create(t.Context(), given, nil); !errors.Is(err, drivers.ErrInvalid) {
		t.Errorf("Create with an address from elsewhere: %v, want ErrInvalid", err)
	}
	for _, h := range []drivers.Handle{h2, h} {
		if err := errors.Join(d.Stop(t.Context(), h, drivers.StopOptions{}), d.Remove(t.Context(), h)); err != nil {
			t.Error(err)
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil || len(interfaces) != 1 {
		t.Errorf("interfaces left: %v, %v", interfaces, err)
	}
	if rules, err := exec.Command(iptables(), "-t", "nat", "-S").Output(); err != nil || strings.Contains(string(rules), "-A") {
		t.Errorf("rules left: %s, %v", rules, err)
	}
}

// echo sends to a guest until the same comes back.
func echo(t *testing.T, address string) {
	t.Helper()
	c, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 20 {
		_, _ = c.Write([]byte("hello"))
		_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		b := make([]byte, 100)
		if n, err := c.Read(b); err == nil && string(b[:n]) == "hello" {
			return
		}
	}
	t.Errorf("%s does not answer", address)
}

func TestParseVersion(t *testing.T) {
	for out, want := range map[string]tender{
		"solo5-hvt tender, version v0.9.0\nABI version 2\n":      {kind: solo5HVT, version: "v0.9.0", abi: 2},
		"edgehvt tender, version dev\nABI version 2\n":           {kind: edgehvt, version: "dev", abi: 2},
		"QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright": {kind: qemu, version: "7.2.22", abi: 1},
		"GNU coreutils 9.1\n":                                    {},
		"x tender, version 1\nABI version many\n":                {},
		"": {},
	} {
		if got, ok := parseVersion(out); got != want || ok != (want.kind != "") {
			t.Errorf("%q: %+v, %v; want %+v", out, got, ok, want)
		}
	}
	if !newer("v0.10.1", "v0.9.3") || newer("v0.9.3", "v0.9.3") || newer("v0.9", "v0.9.1") {
		t.Error("versions are not compared by their numbers")
	}
}

// TestFindTender puts programs into $PATH that say that they are tenders.
func TestFindTender(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{
		"solo5-spt":   "solo5-spt tender, version v0.6.0\nABI version 1",
		"solo5-spt.2": "solo5-spt tender, version v0.9.0\nABI version 2",
		"solo5-spt.3": "solo5-spt tender, version v0.12.1\nABI version 2",
		"solo5-spt.4": "something else",
	} {
		script := "#!/bin/sh\nprintf '" + strings.ReplaceAll(text, "\n", `\n`) + "\\n' >&2\n"
		if err := os.WriteFile(dir+"/"+file, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	d := newDriver(t, Config{})
	if c := d.look(t.Context())[solo5.SPT]; c.problem != nil || c.path != dir+"/solo5-spt.3" {
		t.Errorf("found %+v", c)
	}
	d = newDriver(t, Config{SPT: dir + "/solo5-spt"})
	if c := d.look(t.Context())[solo5.SPT]; c.problem == nil || !strings.Contains(c.problem.Error(), "version 1") {
		t.Errorf("found %+v, want a tender that is too old", c)
	}
}

func TestMeaning(t *testing.T) {
	for _, tt := range []struct {
		kind      string
		code      int
		out, errs string
		want      int
		reason    string
	}{
		{edgehvt, 1, "", "edgehvt: exiting on signal 15\n", 143, ""},
		{solo5HVT, 1, "", "solo5-hvt: Exiting on signal 15\n", 143, ""},
		{solo5HVT, 1, "", "solo5-hvt: /dev/kvm: no\n", 1, "solo5-hvt: /dev/kvm: no"},
		{solo5HVT, 1, "bye\n", "", 1, "the guest cannot work with its arguments; see its output"},
		{solo5SPT, 143, "", "", 143, ""},
		{solo5SPT, 139, "", "", 139, "the guest has crashed: an exception that it does not handle"},
		{qemu, 0, "", "qemu-system-x86_64: terminating on signal 15 from pid 1 (x)\n", 143, ""},
		{qemu, 83, "x\nSolo5: solo5_exit(300) called\n", "", 44, ""},
		{qemu, 83, "Solo5: solo5_abort() called\n", "", 255, "the guest has aborted"},
		{qemu, 1, "", "qemu: no such file\n", 1, "qemu: no such file"},
	} {
		got := meaning(tt.kind, drivers.Exit{Code: tt.code}, tt.out, tt.errs)
		if got.Code != tt.want || got.Reason != tt.reason || got.Permanent != strings.Contains(tt.reason, "arguments") {
			t.Errorf("%s with %d, %q, %q: %+v; want %d, %q", tt.kind, tt.code, tt.out, tt.errs, got, tt.want, tt.reason)
		}
	}
}

func TestAddress(t *testing.T) {
	n := &network{prefix: netip.MustParsePrefix("10.0.0.0/29"), bridge: "b"}
	all := map[string]reservation{}
	for i := range 5 { // 2 to 6: 0, 1 and 7 are not for guests
		a, err := n.address(all, nil)
		if err != nil || a != netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 2)}) {
			t.Fatalf("address %d is %v, %v", i, a, err)
		}
		all[a.String()] = reservation{Address: a}
	}
	if a, err := n.address(all, nil); err == nil || networkClass(err) != drivers.ErrExhausted {
		t.Errorf("address from a full network: %v, %v", a, err)
	}
}

// TestWithoutTender names what is missing for each target.
func TestWithoutTender(t *testing.T) {
	d := newDriver(t, Config{EdgeHVT: "/nonexistent/edgehvt", QEMU: "/nonexistent/qemu"})
	t.Setenv("PATH", t.TempDir())
	info := d.Probe(t.Context())
	for _, word := range []string{"hvt: ", "spt: ", "virtio: "} {
		if info.Usable || !strings.Contains(info.Reason, word) || info.Remedy == "" {
			t.Errorf("%+v, want %q in the reason", info, word)
		}
	}
	_, err := d.Create(t.Context(), save(t, guest.Virtio(guest.Exit(0))), nil)
	if !errors.Is(err, drivers.ErrImage) || !strings.Contains(err.Error(), "virtio") {
		t.Errorf("Create without a tender: %v", err)
	}
}
