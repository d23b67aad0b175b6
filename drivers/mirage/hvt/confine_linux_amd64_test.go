package hvt

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// envAttempt makes the test binary confine itself and try something.
const envAttempt = "EDGEHVT_TEST_ATTEMPT"

// attempts are what a guest that has taken over the process may want to do.
// Those with a status are allowed.
var attempts = map[string]struct {
	do      func(g *tender)
	allowed bool
}{
	"console":    {func(*tender) { raw(unix.SYS_WRITE, 1, 0, 0) }, true},
	"block read": {func(g *tender) { raw(unix.SYS_PREAD64, uintptr(g.devices[0].fd), 0, 0) }, true},
	"net read":   {func(g *tender) { raw(unix.SYS_READ, uintptr(g.devices[1].fd), 0, 0) }, true},
	"data memory": {func(*tender) {
		raw(unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON, ^uintptr(0))
	}, true},
	"open":           {func(*tender) { raw(unix.SYS_OPENAT, 0, 0, 0) }, false},
	"execve":         {func(*tender) { raw(unix.SYS_EXECVE, 0, 0, 0) }, false},
	"fork":           {func(*tender) { raw(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0) }, false},
	"socket":         {func(*tender) { raw(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0) }, false},
	"ptrace":         {func(*tender) { raw(unix.SYS_PTRACE, 0, 1, 0) }, false},
	"setuid":         {func(*tender) { raw(unix.SYS_SETUID, 0, 0, 0) }, false},
	"kill":           {func(*tender) { raw(unix.SYS_KILL, 1, 0, 0) }, false},
	"signal another": {func(*tender) { raw(unix.SYS_TGKILL, 1, 1, 0) }, false},
	"write to input": {func(*tender) { raw(unix.SYS_WRITE, 0, 0, 0) }, false},
	"read input":     {func(*tender) { raw(unix.SYS_READ, 0, 0, 0) }, false},
	"write to block": {func(g *tender) { raw(unix.SYS_WRITE, uintptr(g.devices[0].fd), 0, 0) }, false},
	"code memory": {func(*tender) {
		raw(unix.SYS_MMAP, 0, 4096, unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON, ^uintptr(0))
	}, false},
	"map a file": {func(g *tender) {
		raw(unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE, uintptr(g.devices[0].fd))
	}, false},
	"make code":      {func(*tender) { raw(unix.SYS_MPROTECT, 0, 4096, unix.PROT_EXEC) }, false},
	"set registers":  {func(g *tender) { raw(unix.SYS_IOCTL, uintptr(g.vcpu), kvmSetRegs, 0) }, false},
	"terminal":       {func(*tender) { raw(unix.SYS_IOCTL, 0, unix.TIOCSTI, 0) }, false},
	"dumpable":       {func(*tender) { raw(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1, 0) }, false},
	"32-bit numbers": {func(*tender) { raw(0x40000000|unix.SYS_WRITE, 1, 0, 0) }, false},
	"unknown call":   {func(*tender) { raw(10_000, 0, 0, 0) }, false},
}

func raw(call uintptr, args ...uintptr) {
	var a [6]uintptr
	copy(a[:], args)
	_, _, _ = unix.RawSyscall6(call, a[0], a[1], a[2], a[3], a[4], a[5])
}

// TestAttempt is no test, but what TestConfine runs.
func TestAttempt(t *testing.T) {
	name := os.Getenv(envAttempt)
	if name == "" {
		t.Skip("for TestConfine")
	}
	runtime.LockOSThread()
	open := func() int {
		fd, err := unix.Open("/dev/null", unix.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	g := &tender{console: 1, machine: &machine{vcpu: open()}, devices: []device{{kind: solo5.Block, fd: open()}, {kind: solo5.Net, fd: open()}}}
	filter := compile(g.rules(unix.Getpid()))
	done := []byte("done")
	if err := confine(filter); err != nil {
		t.Fatal(err)
	}
	attempts[name].do(g)
	raw(unix.SYS_WRITE, 1, uintptr(unsafe.Pointer(&done[0])), uintptr(len(done)))
	raw(unix.SYS_EXIT_GROUP, 0)
}

func TestConfine(t *testing.T) {
	for name, attempt := range attempts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestAttempt$")
			cmd.Env = append(os.Environ(), envAttempt+"="+name)
			out, err := cmd.CombinedOutput()
			if attempt.allowed {
				if err != nil || !bytes.HasSuffix(out, []byte("done")) {
					t.Errorf("%v, %s; want it allowed", err, out)
				}
				return
			}
			if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != unix.SIGSYS {
				t.Errorf("ended with %v, want SIGSYS; output %s", err, out)
			}
		})
	}
}

// TestFilterJumps makes sure that no jump leaves the filter: distances are of one byte.
func TestFilterJumps(t *testing.T) {
	g := &tender{console: 1, machine: &machine{vcpu: 5}}
	for i := range 63 {
		g.devices = append(g.devices, device{kind: []solo5.DeviceType{solo5.Block, solo5.Net}[i%2], fd: 10 + i})
	}
	filter := compile(g.rules(1))
	for i, f := range filter {
		if f.Code&7 == unix.BPF_JMP && (i+1+int(f.Jt) >= len(filter) || i+1+int(f.Jf) >= len(filter)) {
			t.Errorf("instruction %d of %d jumps too far: %+v", i, len(filter), f)
		}
	}
	if len(filter) > unix.BPF_MAXINSNS {
		t.Errorf("%d instructions", len(filter))
	}
}
