//go:build linux && (amd64 || arm64)

package capabilities

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of the KVM API, see the kernel's Documentation/virt/kvm/api.rst.
const (
	kvmGetAPIVersion       = 0xae00
	kvmCreateVM            = 0xae01
	kvmGetVCPUMmapSize     = 0xae04
	kvmCreateVCPU          = 0xae41
	kvmSetUserMemoryRegion = 0x4020ae46
	kvmRun                 = 0xae80

	kvmAPIVersion = 12
	maxExits      = 16 // before the VM has said what it must
)

// kvmMemoryRegion is struct kvm_userspace_memory_region.
type kvmMemoryRegion struct {
	slot, flags   uint32
	guest         uint64
	size, address uint64
}

// kvmRunHead is the beginning of struct kvm_run; the union of exits is at exitData.
type kvmRunHead struct {
	requestInterrupt uint8
	immediateExit    uint8
	_                [6]uint8
	exitReason       uint32
}

const kvmExitData = 32 // offset of the union in struct kvm_run

// tinyVM is a virtual machine of one page and one processor.
type tinyVM struct {
	kvm, vm, cpu int
	memory, run  []byte
}

func (v *tinyVM) head() *kvmRunHead { return (*kvmRunHead)(unsafe.Pointer(&v.run[0])) }

// ioctl passes a pointer as such, so that what it points to stays where it is.
func ioctl(fd int, request uintptr, arg unsafe.Pointer) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// runTinyVM makes a virtual machine, lets it run the few instructions of
// guestCode, and checks that they have run.
func runTinyVM(ctx context.Context) error { return runVM(ctx, guestCode) }

func runVM(ctx context.Context, code []byte) (err error) {
	runtime.LockOSThread() // KVM wants one thread for a processor, and it is stopped by a signal to it
	defer runtime.UnlockOSThread()
	v := &tinyVM{kvm: -1, vm: -1, cpu: -1}
	defer func() { err = errors.Join(err, v.close()) }()
	if err := v.create(code); err != nil {
		return err
	}
	if err := v.setUp(); err != nil {
		return fmt.Errorf("set up the processor of a virtual machine: %w", err)
	}
	thread := unix.Gettid()
	var over atomic.Bool
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		v.head().immediateExit = 1 // for the case that it is not in there yet
		if !over.Load() {
			_ = unix.Tgkill(unix.Getpid(), thread, unix.SIGURG) // which Go uses itself to interrupt
		}
	})
	err = v.runToEnd(ctx)
	over.Store(true)
	if !stop() {
		<-done // it still uses the memory that close unmaps
	}
	return err
}

func (v *tinyVM) create(code []byte) (err error) {
	if v.kvm, err = unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open /dev/kvm: %w", err)
	}
	version, err := ioctl(v.kvm, kvmGetAPIVersion, nil)
	if err != nil || version != kvmAPIVersion {
		return fmt.Errorf("/dev/kvm is of version %d, want %d: %w", version, kvmAPIVersion, errors.Join(err, errors.New("it is not KVM")))
	}
	if v.vm, err = ioctl(v.kvm, kvmCreateVM, nil); err != nil {
		v.vm = -1
		return fmt.Errorf("make a virtual machine: %w", err)
	}
	page := unix.Getpagesize()
	if v.memory, err = unix.Mmap(-1, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS); err != nil {
		return fmt.Errorf("make a virtual machine's memory: %w", err)
	}
	copy(v.memory, code)
	region := kvmMemoryRegion{guest: guestBase, size: uint64(page), address: uint64(uintptr(unsafe.Pointer(&v.memory[0])))}
	if _, err = ioctl(v.vm, kvmSetUserMemoryRegion, unsafe.Pointer(&region)); err != nil {
		return fmt.Errorf("give a virtual machine memory: %w", err)
	}
	if v.cpu, err = ioctl(v.vm, kvmCreateVCPU, nil); err != nil {
		v.cpu = -1
		return fmt.Errorf("give a virtual machine a processor: %w", err)
	}
	size, err := ioctl(v.kvm, kvmGetVCPUMmapSize, nil)
	if err == nil {
		v.run, err = unix.Mmap(v.cpu, 0, max(size, 4096), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		return fmt.Errorf("share memory with KVM: %w", err)
	}
	return nil
}

func (v *tinyVM) runToEnd(ctx context.Context) error {
	for range maxExits {
		if ctx.Err() != nil {
			return errors.New("a virtual machine does not come to its end")
		}
		_, err := ioctl(v.cpu, kvmRun, nil)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return fmt.Errorf("run a virtual machine: %w", err)
		}
		if v.said() {
			return nil
		}
	}
	return fmt.Errorf("a virtual machine ended for reason %d instead of what it was told to do", v.head().exitReason)
}

func (v *tinyVM) close() error {
	var all []error
	for _, m := range [][]byte{v.run, v.memory} {
		if m != nil {
			all = append(all, unix.Munmap(m))
		}
	}
	for _, fd := range []int{v.cpu, v.vm, v.kvm} {
		if fd >= 0 {
			all = append(all, unix.Close(fd))
		}
	}
	return errors.Join(all...)
}
