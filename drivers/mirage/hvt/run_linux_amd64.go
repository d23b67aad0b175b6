package hvt

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// Run runs a guest until it halts and returns its status, 0 to 255. An error is
// about what was asked for or about what the guest did that no guest may do.
//
// The calling process is confined for good: after Run it can do little more
// than exit. Its console is file descriptor 1.
func Run(o Options) (status int, err error) {
	// KVM wants a processor run by one thread.
	runtime.LockOSThread()
	t, err := prepare(o)
	if err != nil {
		return 0, err
	}
	if err := become(o.UID, o.GID); err != nil {
		return 0, err
	}
	if err := confine(compile(t.rules(unix.Getpid()))); err != nil {
		return 0, err
	}
	return t.run()
}

// prepare does all that needs rights.
func prepare(o Options) (*tender, error) {
	f, err := openFile(o.Kernel)
	if err != nil {
		return nil, err
	}
	defer f.close()
	img, devices, err := inspect(f, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Kernel, err)
	}
	t := &tender{console: 1}
	attached := make([]solo5.Attachment, len(devices))
	for i, asked := range devices {
		d, a, err := asked.open()
		if err != nil {
			return nil, err
		}
		attached[i] = a
		t.devices = append(t.devices, d)
		if d.kind == solo5.Net {
			t.polled = append(t.polled, unix.PollFd{Fd: int32(d.fd), Events: unix.POLLIN})
			t.handles = append(t.handles, uint(i+1))
		}
	}
	if t.machine, err = newMachine(o.MemoryMiB << 20); err != nil {
		return nil, err
	}
	if err := t.memory.load(f, img); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Kernel, err)
	}
	cycles, err := t.cyclesPerSecond()
	if err != nil {
		return nil, err
	}
	setUpTables(t.memory.bytes, o.MemoryMiB<<20)
	handOver(t.memory.bytes, img, attached, o.Arguments, cycles)
	if err := t.protect(); err != nil {
		return nil, err
	}
	if err := t.reset(img.Entry); err != nil {
		return nil, err
	}
	t.closeMakers()
	return t, nil
}

// inspect reads the image and checks that it and the options fit together.
func inspect(f file, o Options) (solo5.Image, []Device, error) {
	size, err := f.size()
	if err != nil {
		return solo5.Image{}, nil, err
	}
	img, err := solo5.Inspect(f, size)
	if err != nil {
		return solo5.Image{}, nil, err
	}
	if img.Target != solo5.HVT || img.ABIVersion != ABIVersion || img.Arch != runtime.GOARCH {
		return solo5.Image{}, nil, fmt.Errorf("the image is for %s version %d on %s; edgehvt runs hvt version %d on %s",
			img.Target, img.ABIVersion, img.Arch, ABIVersion, runtime.GOARCH)
	}
	devices, err := match(img.Devices, o.Devices)
	return img, devices, err
}

// run runs the guest until it ends.
func (t *tender) run() (status int, err error) {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(t.vcpu), kvmRun, 0)
		switch errno {
		case 0:
		case unix.EINTR, unix.EAGAIN:
			continue
		case unix.EFAULT:
			return 0, fmt.Errorf("the guest has crashed at %#x: it used memory that it has not, or wrote to what is read-only", t.instruction())
		default:
			return 0, fmt.Errorf("run the guest: %w", errno)
		}
		status, ended, err := t.exit()
		if err != nil || ended {
			return status, err
		}
	}
}

// exit handles what the guest has come back for.
func (t *tender) exit() (status int, ended bool, err error) {
	switch reason := order.Uint32(t.shared[kvmExitReason:]); reason {
	case kvmExitIO:
		port := order.Uint16(t.shared[kvmExitIOPort:])
		if port <= callPort || t.shared[kvmExitIODirection] != kvmExitIOOut || t.shared[kvmExitIOSize] != 4 || order.Uint32(t.shared[kvmExitIOCount:]) != 1 {
			return 0, false, fmt.Errorf("the guest used I/O port %#x in a way that is no hypercall", port)
		}
		data := order.Uint64(t.shared[kvmExitIODataOffset:])
		return t.call(port-callPort, uint64(order.Uint32(t.shared[data:])))
	case kvmExitHalt:
		return 0, false, fmt.Errorf("the guest has stopped its processor at %#x; Solo5 guests poll or halt by hypercall", t.instruction())
	case kvmExitShutdown:
		return 0, false, fmt.Errorf("the guest has crashed at %#x: an exception that it does not handle", t.instruction())
	case kvmExitMMIO:
		return 0, false, fmt.Errorf("the guest has crashed at %#x: it may not use the memory at %#x", t.instruction(), order.Uint64(t.shared[kvmExitMMIOAddress:]))
	case kvmExitFailEntry, kvmExitInternal:
		return 0, false, fmt.Errorf("the processor cannot run the guest at %#x (KVM exit %d, %#x)", t.instruction(), reason, order.Uint64(t.shared[kvmExitIODirection:]))
	default:
		return 0, false, fmt.Errorf("the guest has come back for KVM exit %d, which Solo5 does not know", reason)
	}
}
