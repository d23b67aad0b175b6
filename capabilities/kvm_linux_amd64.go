package capabilities

import (
	"encoding/binary"
	"unsafe"
)

const (
	guestBase = 0x1000
	guestPort = 0xe9
	guestSum  = 2 + 3

	kvmSetRegs  = 0x4090ae82
	kvmGetSregs = 0x8138ae83
	kvmSetSregs = 0x4138ae84
	kvmExitIO   = 2
)

// guestCode adds two numbers in real mode and writes the sum to a port:
// add al, bl; mov dx, 0xe9; out dx, al; hlt.
var guestCode = []byte{0x00, 0xd8, 0xba, guestPort, 0x00, 0xee, 0xf4}

// kvmRegs is struct kvm_regs of x86.
type kvmRegs struct {
	rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp uint64
	r8, r9, r10, r11, r12, r13, r14, r15   uint64
	rip, rflags                            uint64
}

// setUp starts the processor at guestBase, with the code segment at zero.
func (v *tinyVM) setUp() error {
	const sregsSize, csBase, csSelector = 312, 0, 12 // of struct kvm_sregs, which begins with cs
	var sregs [sregsSize]byte
	if _, err := ioctl(v.cpu, kvmGetSregs, unsafe.Pointer(&sregs)); err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(sregs[csBase:], 0)
	binary.LittleEndian.PutUint16(sregs[csSelector:], 0)
	if _, err := ioctl(v.cpu, kvmSetSregs, unsafe.Pointer(&sregs)); err != nil {
		return err
	}
	regs := kvmRegs{rip: guestBase, rax: 2, rbx: 3, rflags: 2} // bit 1 is always set
	_, err := ioctl(v.cpu, kvmSetRegs, unsafe.Pointer(&regs))
	return err
}

// said tells whether the sum has come out at the port.
func (v *tinyVM) said() bool {
	if v.head().exitReason != kvmExitIO {
		return false
	}
	io := v.run[kvmExitData:] // direction, size, port, count, offset of the data
	port := binary.LittleEndian.Uint16(io[2:])
	data := binary.LittleEndian.Uint64(io[8:])
	return port == guestPort && data < uint64(len(v.run)) && v.run[data] == guestSum
}
