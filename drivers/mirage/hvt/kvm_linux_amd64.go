package hvt

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls of the KVM API: _IO, _IOR, _IOW and _IOWR of 0xae.
const (
	kvmGetAPIVersion    = 0xae00
	kvmCreateVM         = 0xae01
	kvmGetVCPUMmapSize  = 0xae04
	kvmGetSupportedCPU  = 0xc008ae05
	kvmCreateVCPU       = 0xae41
	kvmSetMemoryRegion  = 0x4020ae46
	kvmRun              = 0xae80
	kvmGetRegs          = 0x8090ae81
	kvmSetRegs          = 0x4090ae82
	kvmGetSregs         = 0x8138ae83
	kvmSetSregs         = 0x4138ae84
	kvmSetCPUID         = 0x4008ae90
	kvmGetTSCKHz        = 0xaea3
	kvmAPIVersion       = 12
	kvmExitIO           = 2
	kvmExitHalt         = 5
	kvmExitMMIO         = 6
	kvmExitShutdown     = 8
	kvmExitFailEntry    = 9
	kvmExitInternal     = 17
	kvmExitIODirection  = 32 // offsets in the page shared with KVM
	kvmExitIOSize       = 33
	kvmExitIOPort       = 34
	kvmExitIOCount      = 36
	kvmExitIODataOffset = 40
	kvmExitReason       = 8
	kvmExitMMIOAddress  = 32
	kvmExitIOOut        = 1
)

type memoryRegion struct {
	slot, flags           uint32
	address, size, memory uint64
}

// registers is struct kvm_regs.
type registers struct {
	rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp uint64
	r8, r9, r10, r11, r12, r13, r14, r15   uint64
	rip, rflags                            uint64
}

// segment is struct kvm_segment.
type segment struct {
	base                         uint64
	limit                        uint32
	selector                     uint16
	kind, present, dpl, db, s, l uint8
	g, avl, unusable, _          uint8
}

type table struct {
	base  uint64
	limit uint16
	_     [3]uint16
}

// systemRegisters is struct kvm_sregs.
type systemRegisters struct {
	cs, ds, es, fs, gs, ss, tr, ldt segment
	gdt, idt                        table
	cr0, cr2, cr3, cr4, cr8         uint64
	efer, apicBase                  uint64
	interrupts                      [4]uint64
}

// What the processor is set to.
const (
	cr0Long  = 0x80010021 // paging, write protection in ring 0, native FPU errors, protected mode
	cr4Long  = 0x620      // PAE, SSE and its exceptions
	eferLong = 0x500      // long mode enabled and active
	flags    = 0x2        // the bit that is always set
)

// machine is a virtual machine with one processor.
type machine struct {
	kvm, vm, vcpu int
	memory        memory
	shared        []byte // struct kvm_run
}

// ioctl makes a call of the KVM API; arg may be nil.
func ioctl(fd int, request uintptr, arg unsafe.Pointer) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
		if errno == 0 {
			return int(r), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// newMachine returns a machine with so many bytes of memory, all zero.
func newMachine(memoryBytes uint64) (*machine, error) {
	kvm, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, explain(err)
	}
	m := &machine{kvm: kvm}
	if v, err := ioctl(kvm, kvmGetAPIVersion, nil); err != nil || v != kvmAPIVersion {
		return nil, fmt.Errorf("/dev/kvm has version %d (%v), want %d", v, err, kvmAPIVersion)
	}
	if m.vm, err = ioctl(kvm, kvmCreateVM, nil); err != nil {
		return nil, fmt.Errorf("create virtual machine: %w", err)
	}
	if m.memory.bytes, err = unix.Mmap(-1, 0, int(memoryBytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE); err != nil {
		return nil, fmt.Errorf("get %d MiB of memory: %w", memoryBytes>>20, err)
	}
	region := memoryRegion{size: memoryBytes, memory: uint64(uintptr(unsafe.Pointer(&m.memory.bytes[0])))}
	if _, err := ioctl(m.vm, kvmSetMemoryRegion, unsafe.Pointer(&region)); err != nil {
		return nil, fmt.Errorf("give memory to virtual machine: %w", err)
	}
	if m.vcpu, err = ioctl(m.vm, kvmCreateVCPU, nil); err != nil {
		return nil, fmt.Errorf("create processor: %w", err)
	}
	size, err := ioctl(kvm, kvmGetVCPUMmapSize, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for size of processor state: %w", err)
	}
	if m.shared, err = unix.Mmap(m.vcpu, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map processor state: %w", err)
	}
	return m, m.setCPUID()
}

// explain says what to do where /dev/kvm cannot be opened.
func explain(err error) error {
	remedy := "switch virtualisation on in the firmware, or allow it in virtual machines, and load the module kvm_intel or kvm_amd"
	if err == unix.EACCES || err == unix.EPERM {
		remedy = "run as root, or as a member of the group of /dev/kvm"
	}
	return fmt.Errorf("%w: %s", &os.PathError{Op: "open", Path: "/dev/kvm", Err: err}, remedy)
}

// maxCPUID is more than any KVM returns.
const maxCPUID = 256

// setCPUID gives the guest all that KVM supports here.
func (m *machine) setCPUID() error {
	var list struct {
		count, _ uint32
		entries  [maxCPUID][10]uint32
	}
	list.count = maxCPUID
	if _, err := ioctl(m.kvm, kvmGetSupportedCPU, unsafe.Pointer(&list)); err != nil {
		return fmt.Errorf("ask for features of the processor: %w", err)
	}
	if _, err := ioctl(m.vcpu, kvmSetCPUID, unsafe.Pointer(&list)); err != nil {
		return fmt.Errorf("set features of the processor: %w", err)
	}
	return nil
}

// cyclesPerSecond is the rate of the guest's time stamp counter.
func (m *machine) cyclesPerSecond() (uint64, error) {
	khz, err := ioctl(m.vcpu, kvmGetTSCKHz, nil)
	if err != nil || khz == 0 {
		return 0, fmt.Errorf("the time stamp counter has no known rate here: %w", err)
	}
	return uint64(khz) * 1000, nil
}

// protect makes the read-only segments so for the guest, whatever page tables
// it makes itself.
func (m *machine) protect() error {
	for _, s := range m.memory.fixed {
		if err := unix.Mprotect(m.memory.bytes[s.start:s.end], unix.PROT_READ); err != nil {
			return fmt.Errorf("protect segment at %#x: %w", s.start, err)
		}
	}
	return nil
}

// reset puts the processor at the guest's entry, in long mode and ring 0.
func (m *machine) reset(entry uint64) error {
	var s systemRegisters
	if _, err := ioctl(m.vcpu, kvmGetSregs, unsafe.Pointer(&s)); err != nil {
		return fmt.Errorf("read processor state: %w", err)
	}
	code := segment{limit: 0xffffffff, selector: gdtCode * 8, kind: 11, present: 1, s: 1, l: 1, g: 1}
	data := segment{limit: 0xffffffff, selector: gdtData * 8, kind: 3, present: 1, s: 1, db: 1, g: 1}
	s.cs, s.ds, s.es, s.fs, s.gs, s.ss = code, data, data, data, data, data
	s.tr = segment{limit: 0xffff, kind: 11, present: 1}
	s.ldt = segment{unusable: 1}
	s.gdt, s.idt = table{base: gdtAt, limit: 3*8 - 1}, table{}
	s.cr0, s.cr3, s.cr4, s.efer = cr0Long, pml4At, cr4Long, eferLong
	if _, err := ioctl(m.vcpu, kvmSetSregs, unsafe.Pointer(&s)); err != nil {
		return fmt.Errorf("set processor state: %w", err)
	}
	r := registers{rip: entry, rflags: flags, rdi: bootInfoAt, rsp: uint64(len(m.memory.bytes)) - 8}
	if _, err := ioctl(m.vcpu, kvmSetRegs, unsafe.Pointer(&r)); err != nil {
		return fmt.Errorf("set registers: %w", err)
	}
	return nil
}

// closeMakers closes what a running machine does not need any more.
func (m *machine) closeMakers() {
	_ = unix.Close(m.kvm)
	_ = unix.Close(m.vm)
	m.kvm, m.vm = -1, -1
}

// instruction is where the guest is; 0 if that cannot be told.
func (m *machine) instruction() uint64 {
	var r registers
	if _, err := ioctl(m.vcpu, kvmGetRegs, unsafe.Pointer(&r)); err != nil {
		return 0
	}
	return r.rip
}
