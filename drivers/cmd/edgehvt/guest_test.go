//go:build linux && amd64

package main_test

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edgeio/edgeio/drivers/drivertest"
	"github.com/edgeio/edgeio/drivers/mirage/solo5"
	"github.com/edgeio/edgeio/drivers/mirage/solo5/guest"
)

func steps(s ...guest.Step) []guest.Step { return s }

func TestGuests(t *testing.T) {
	requireKVM(t)
	for _, tt := range []struct {
		name   string
		steps  []guest.Step
		args   []string
		out    string
		status int
		stderr string
	}{
		{"done", steps(guest.Print("hello\n")), nil, "hello\n", 0, ""},
		{"exit", steps(guest.Exit(3)), nil, "", 3, ""},
		{"highest exit", steps(guest.Exit(254)), nil, "", 254, ""},
		{"abort", steps(guest.Abort()), nil, "", 255, ""},
		{"arguments", steps(guest.PrintCommandLine()), []string{"--ipv4=10.0.0.2/24", "a b", "--"}, "--ipv4=10.0.0.2/24 a b --", 0, ""},
		{"no arguments", steps(guest.PrintCommandLine()), nil, "", 0, ""},
		{"longest arguments", steps(guest.PrintCommandLine()), []string{strings.Repeat("x", 8191)}, strings.Repeat("x", 8191), 0, ""},
		{"bytes", steps(guest.Print("\x00\xff\x1b")), nil, "\x00\xff\x1b", 0, ""},
		{"memory", steps(guest.Touch(8<<20), guest.Print("ok")), nil, "ok", 0, ""},
		{"sleep", steps(guest.Print("a"), guest.Sleep(30*time.Millisecond), guest.Print("b")), nil, "ab", 0, ""},
		{"invalid instruction", steps(guest.Print("up\n"), guest.Crash()), nil, "up\n", 1, "an exception that it does not handle"},
		{"writes to its code", steps(guest.Store(0x100000)), nil, "", 1, "has crashed at 0x10"},
		{"writes to what it was handed", steps(guest.Store(0x10000)), nil, "", 1, "has crashed at 0x10"},
		{"writes to its page tables", steps(guest.Store(0x2000)), nil, "", 1, "has crashed at 0x10"},
		{"writes nowhere", steps(guest.Store(0)), nil, "", 1, "has crashed at 0x10"},
		{"writes behind its memory", steps(guest.Store(16 << 20)), nil, "", 1, "has crashed at 0x10"},
		{"prints what it has not", steps(guest.PrintMemory(16<<20-1, 2)), nil, "", 1, "2 bytes at 0xffffff, outside its memory"},
		{"prints beyond all addresses", steps(guest.PrintMemory(1<<20, 1<<64-1)), nil, "", 1, "outside its memory"},
		{"prints its page tables", steps(guest.PrintMemory(0x2000, 8)), nil, "", 1, "outside its memory"},
		{"clock into its code", steps(guest.Hypercall(1, 0x100000)), nil, "", 1, "hypercall 1 with an argument at 0x100000"},
		{"clock into its page tables", steps(guest.Hypercall(1, 0x2000)), nil, "", 1, "hypercall 1 with an argument at 0x2000"},
		{"argument half outside", steps(guest.Hypercall(2, 16<<20-8)), nil, "", 1, "hypercall 2 with an argument"},
		{"argument far outside", steps(guest.Hypercall(8, 0xfffffff8)), nil, "", 1, "hypercall 8 with an argument"},
		{"unknown hypercall", steps(guest.Hypercall(9, 0x110000)), nil, "", 1, "hypercall 9, which does not exist"},
		{"hypercall zero", steps(guest.Hypercall(0, 0x110000)), nil, "", 1, "I/O port 0x500"},
		// mov edx, 0x502 stands in front of: out dx, al; in eax, dx; rep outsd; out dx, ax.
		{"byte to a port", steps(guest.Code(0xba, 2, 5, 0, 0, 0xee)), nil, "", 1, "no hypercall"},
		{"word to a port", steps(guest.Code(0xba, 2, 5, 0, 0, 0x66, 0xef)), nil, "", 1, "no hypercall"},
		{"reads a port", steps(guest.Code(0xba, 2, 5, 0, 0, 0xed)), nil, "", 1, "no hypercall"},
		{"string to a port", steps(guest.Code(0xba, 2, 5, 0, 0, 0xb9, 16, 0, 0, 0, 0xbe, 0, 0, 0x11, 0, 0xf3, 0x6f)), nil, "", 1, "edgehvt: the guest"},
		{"other port", steps(guest.Code(0xba, 0xf8, 3, 0, 0, 0xef)), nil, "", 1, "I/O port 0x3f8"},
		{"stops its processor", steps(guest.Code(0xf4)), nil, "", 1, "has stopped its processor"},
		{"resets by a null page table", steps(guest.Code(0x31, 0xc0, 0x0f, 0x22, 0xd8)), nil, "", 1, "edgehvt: the "},
		{"leaves long mode", steps(guest.Code(0x31, 0xc0, 0x0f, 0x22, 0xc0)), nil, "", 1, "edgehvt: the "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, guest.HVT(nil, tt.steps...), nil, tt.args...)
			out, status := p.wait()
			if out != tt.out || status != tt.status || !strings.Contains(p.stderr.String(), tt.stderr) || (tt.stderr == "") != (p.stderr.Len() == 0) {
				t.Errorf("console %q, status %d, stderr %q; want %q, %d, %q", out, status, p.stderr.String(), tt.out, tt.status, tt.stderr)
			}
		})
	}
}

func TestClock(t *testing.T) {
	requireKVM(t)
	before := time.Now()
	out, status := start(t, guest.HVT(nil, guest.PrintClock()), nil).wait()
	if len(out) != 8 || status != 0 {
		t.Fatalf("console %q, status %d", out, status)
	}
	if got := time.Unix(0, int64(binary.LittleEndian.Uint64([]byte(out)))); got.Before(before) || got.After(time.Now()) {
		t.Errorf("the guest's clock says %v at %v", got, before)
	}
}

// TestSignals ends guests that wait and guests that compute.
func TestSignals(t *testing.T) {
	requireKVM(t)
	for name, step := range map[string]guest.Step{
		"sleeping": guest.SleepForever(), "computing": guest.Spin(),
		"printing": guest.Loop(guest.Print("up\n"), guest.Sleep(time.Millisecond)),
	} {
		for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			p := start(t, guest.HVT(nil, guest.Print("up\n"), step), nil)
			p.expect("up\n")
			if err := p.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			if _, status := p.wait(); status != 1 || !strings.Contains(p.stderr.String(), "exiting on signal") {
				t.Errorf("%s, %v: status %d, stderr %q", name, s, status, p.stderr.String())
			}
		}
	}
}

func TestConsoleGone(t *testing.T) {
	requireKVM(t)
	p := start(t, guest.HVT(nil, guest.Print("up\n"), guest.Loop(guest.Print("more\n"), guest.Sleep(time.Millisecond))), nil)
	p.expect("up\n")
	_ = p.stdout.Close()
	_ = p.cmd.Wait()
	if got := p.cmd.ProcessState.ExitCode(); got != 141 {
		t.Errorf("status %d, want 141", got)
	}
}

// TestConsoleNonBlocking has a pipe that is full, and does not block, as console.
func TestConsoleNonBlocking(t *testing.T) {
	requireKVM(t)
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	defer func() { _ = r.Close() }()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("0123456789abcdef", 1000)
	image := guest.HVT(nil, guest.Print(text), guest.Print(text), guest.Print(text), guest.Sleep(30*time.Millisecond), guest.Exit(5))
	process, err := os.StartProcess(path, []string{path, "--mem=16", save(t, image)}, &os.ProcAttr{Files: []*os.File{nil, w, os.Stderr}})
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	got := 0
	buffer := make([]byte, 1000)
	for {
		n, err := r.Read(buffer)
		got += n
		if err != nil {
			break
		}
	}
	state, err := process.Wait()
	if err != nil || state.ExitCode() != 5 || got != 3*len(text) {
		t.Errorf("read %d bytes, want %d; %v, %v", got, 3*len(text), state, err)
	}
}

// TestConfined looks at a running tender from outside.
func TestConfined(t *testing.T) {
	requireKVM(t)
	if os.Getuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	p := start(t, guest.HVT(nil, guest.Print("up\n"), guest.SleepForever()), []string{"--uid=65534", "--gid=65533"})
	p.expect("up\n")
	for key, want := range map[string]string{
		"Seccomp": "2", "NoNewPrivs": "1", "Uid": "65534 65534 65534 65534", "Gid": "65533 65533 65533 65533", "Groups": "",
		"CapPrm": "0000000000000000", "CapEff": "0000000000000000", "CapInh": "0000000000000000", "CapAmb": "0000000000000000",
	} {
		if got := p.status(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	threads, err := filepath.Glob("/proc/" + strings.TrimSpace(p.status("Pid")) + "/task/*/status")
	if err != nil || len(threads) == 0 {
		t.Fatal("no threads", err)
	}
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(b), "Seccomp:\t2") || !strings.Contains(string(b), "CapEff:\t0000000000000000") {
			t.Errorf("%s: %v\n%s", path, err, b)
		}
	}
	t.Logf("resident with a guest of 16 MiB: %d KiB, %s threads", p.rssKiB(), p.status("Threads"))
}

func TestBlock(t *testing.T) {
	requireKVM(t)
	devices := []solo5.Device{{Name: "storage", Type: solo5.Block}}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(sector string, steps ...guest.Step) (string, int) {
		t.Helper()
		p := start(t, guest.HVT(devices, steps...), []string{"--block:storage=" + disk, "--block-sector-size:storage=" + sector})
		out, status := p.wait()
		if p.stderr.Len() > 0 {
			t.Errorf("stderr %q", p.stderr.String())
		}
		return out, status
	}
	out, status := run("512", guest.WriteBlock("storage", 1024, "kept"), guest.WriteBlock("storage", 64<<10-512, "last"), guest.PrintBlock("storage", 1024, 6))
	if out != "kept\x00\x00" || status != 0 {
		t.Errorf("first guest: console %q, status %d", out, status)
	}
	// Another guest, later, with larger sectors.
	if out, status := run("4096", guest.PrintBlock("storage", 60<<10, 4096)); status != 0 || len(out) != 4096 || out[4096-512:4096-508] != "last" {
		t.Errorf("second guest: console %q, status %d", out, status)
	}
	for _, offset := range []uint64{64 << 10, 1<<64 - 512, 100, 1 << 62} {
		if _, status := run("512", guest.WriteBlock("storage", offset, "x")); status != guest.StatusBlock {
			t.Errorf("writing at %#x: status %d, want %d", offset, status, guest.StatusBlock)
		}
	}
	content, err := os.ReadFile(disk)
	if err != nil || len(content) != 64<<10 || string(content[1024:1028]) != "kept" {
		t.Errorf("the disk has %d bytes, %q, %v", len(content), content[1024:1028], err)
	}
}

// TestRefused are starts that must not happen.
func TestRefused(t *testing.T) {
	requireKVM(t)
	dir := t.TempDir()
	disk, odd := filepath.Join(dir, "disk"), filepath.Join(dir, "odd")
	for path, size := range map[string]int{disk: 4096, odd: 1000} {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plain := guest.HVT(nil, guest.Print("started"))
	wants := guest.HVT([]solo5.Device{{Name: "storage", Type: solo5.Block}, {Name: "service", Type: solo5.Net}}, guest.Print("started"))
	oneDisk := guest.HVT([]solo5.Device{{Name: "storage", Type: solo5.Block}}, guest.Print("started"))
	oneNet := guest.HVT([]solo5.Device{{Name: "service", Type: solo5.Net}}, guest.Print("started"))
	broken := slices.Clone(plain)
	broken[64+4] = 7 // the code becomes writable
	for _, tt := range []struct {
		name  string
		image []byte
		args  []string
		want  string
	}{
		{"not attached", wants, nil, "wants a net device service: add --net:service=TAP"},
		{"not in the manifest", plain, []string{"--block:storage=" + disk}, "the image has no device storage"},
		{"wrong kind", oneNet, []string{"--block:service=" + disk}, "service is a net device of the image"},
		{"attached twice", oneDisk, []string{"--block:storage=" + disk, "--block:storage=" + disk}, "attached already"},
		{"only settings", oneNet, []string{"--net-mac:service=02:00:00:00:00:01"}, "not attached"},
		{"no such file", oneDisk, []string{"--block:storage=" + dir + "/none"}, "no such file"},
		{"a folder", oneDisk, []string{"--block:storage=" + dir}, "is a directory"},
		{"size of file", oneDisk, []string{"--block:storage=" + odd}, "not a whole number of sectors"},
		{"no such tap", oneNet, []string{"--net:service=none0"}, "ip tuntap add none0 mode tap"},
		{"not a tap", oneNet, []string{"--net:service=lo"}, "lo"},
		{"memory", plain, []string{"--mem=1"}, "2 to 4096"},
		{"unknown option", plain, []string{"--gdb"}, "not known"},
		{"virtio image", guest.Virtio(), nil, "the image is for virtio version 1"},
		{"hostile image", broken, nil, "both writable and executable"},
		{"no image", []byte("#!/bin/sh\n"), nil, "not a Solo5 image"},
		{"arguments too long", plain, nil, "at most 8191"},
	} {
		var after []string
		if tt.name == "arguments too long" {
			after = []string{strings.Repeat("x", 8192)}
		}
		p := start(t, tt.image, tt.args, after...)
		out, status := p.wait()
		if out != "" || status != 1 || !strings.Contains(p.stderr.String(), tt.want) || !strings.HasPrefix(p.stderr.String(), "edgehvt: ") {
			t.Errorf("%s: console %q, status %d, stderr %q; want 1 and %q", tt.name, out, status, p.stderr.String(), tt.want)
		}
	}
}

func TestTooLittleMemory(t *testing.T) {
	requireKVM(t)
	image := guest.HVT(nil, guest.Print("ok"))
	p := start(t, image, []string{"--mem=2"})
	if out, status := p.wait(); out != "ok" || status != 0 {
		t.Errorf("2 MiB: %q, %d, %s", out, status, p.stderr.String())
	}
	binary.LittleEndian.PutUint64(image[64+56+40:], 15<<20) // the data segment: 1 MiB + 64 KiB + 15 MiB
	p = start(t, image, nil)
	if _, status := p.wait(); status != 1 || !strings.Contains(p.stderr.String(), "--mem") {
		t.Errorf("status %d, stderr %q", status, p.stderr.String())
	}
}

func TestHelpAndVersion(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]string{"--version": "ABI version 2\n", "--help": "--block-sector-size"} {
		if out, err := exec.Command(path, arg).Output(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %q", arg, err, out)
		}
	}
	out, err := exec.Command(path).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no kernel is given") {
		t.Errorf("without arguments: %v, %q", err, out)
	}
}

// BenchmarkStartToExit is a guest that does nothing.
func BenchmarkStartToExit(b *testing.B) {
	requireKVM(b)
	path, err := program()
	if err != nil {
		b.Fatal(err)
	}
	image := save(b, guest.HVT(nil))
	for b.Loop() {
		if err := exec.Command(path, "--mem=16", image).Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestHostileImages starts images with random damage: whatever happens, it is
// an end that edgehvt knows of, soon after it is told to end.
func TestHostileImages(t *testing.T) {
	requireKVM(t)
	random := rand.New(rand.NewPCG(5, 5))
	sound := guest.HVT(nil, guest.Print("up\n"), guest.Touch(1<<20), guest.Loop(guest.Sleep(time.Millisecond)))
	for i := range 150 {
		image := slices.Clone(sound)
		for range 1 + random.IntN(4) {
			at := random.IntN(len(image))
			if i%2 == 0 {
				at = random.IntN(64 + 4*56 + 200) // headers and notes
			}
			image[at] = byte(random.Uint32())
		}
		p := start(t, image, nil)
		console := p.stdout.(*os.File)
		_ = console.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // it may say nothing
		_, _ = console.Read(make([]byte, 1))
		_ = console.SetReadDeadline(time.Time{})
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_, status := p.wait()
		// SIGTERM may come before edgehvt has asked for it.
		if text := p.stderr.String(); status == 2 || status > 128 && status != 128+int(syscall.SIGTERM) && status != 255 || strings.Contains(text, "goroutine") {
			t.Errorf("image %d: status %d, stderr %s", i, status, text)
		}
	}
}

// TestSameAsSolo5 runs guests on solo5-hvt, too, where it is installed: they
// and edgehvt are to follow the real interface, not just each other.
func TestSameAsSolo5(t *testing.T) {
	requireKVM(t)
	reference, err := exec.LookPath("solo5-hvt")
	drivertest.Require(t, "solo5-hvt", err == nil, "it is not installed")
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	block := []solo5.Device{{Name: "storage", Type: solo5.Block}}
	attach := []string{"--block:storage=" + disk}
	for name, tt := range map[string]struct {
		image []byte
		args  []string
	}{
		"exit":         {guest.HVT(nil, guest.Print("up\n"), guest.Exit(3)), nil},
		"abort":        {guest.HVT(nil, guest.Abort()), nil},
		"crash":        {guest.HVT(nil, guest.Print("up\n"), guest.Crash()), nil},
		"arguments":    {guest.HVT(nil, guest.PrintCommandLine()), nil},
		"memory":       {guest.HVT(nil, guest.Touch(8<<20), guest.Sleep(time.Millisecond), guest.Print("ok")), nil},
		"own code":     {guest.HVT(nil, guest.Store(0x100000)), nil},
		"block":        {guest.HVT(block, guest.WriteBlock("storage", 512, "kept"), guest.PrintBlock("storage", 512, 8)), attach},
		"behind block": {guest.HVT(block, guest.PrintBlock("storage", 64<<10, 8)), attach},
		"not attached": {guest.HVT(block), nil},
		"virtio":       {guest.Virtio(), nil},
	} {
		p := start(t, tt.image, tt.args, "--a", "b c")
		out, status := p.wait()
		cmd := exec.Command(reference, p.cmd.Args[1:]...)
		want, _ := cmd.Output()
		// The reference greets in front of what the guest prints.
		if !strings.HasSuffix(string(want), out) || status != cmd.ProcessState.ExitCode() {
			t.Errorf("%s: console %q, status %d; solo5-hvt: %q, %d", name, out, status, want, cmd.ProcessState.ExitCode())
		}
	}
}
