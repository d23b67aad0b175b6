package capabilities

import (
	"encoding/binary"
	"runtime"
	"unsafe"
)

const (
	guestBase = 0x10000
	guestMMIO = 0x100000 // no memory is there, so that a write to it leaves the VM
	guestSum  = 2 + 3

	kvmSetOneReg       = 0x4010aeac
	kvmVCPUInit        = 0x4020aeae
	kvmPreferredTarget = 0x8020aeaf
	kvmExitMMIO        = 6

	// Registers as KVM numbers them: 64 bits wide, of the core, by the offset in
	// struct kvm_regs in words of 32 bits.
	kvmRegX0 = 0x6030000000100000
	kvmRegPC = kvmRegX0 + 2*32
)

// guestCode adds two numbers and writes the sum to memory that is not there:
// add w0, w0, w2; str w0, [x1]; b .
var guestCode = []byte{0x00, 0x00, 0x02, 0x0b, 0x20, 0x00, 0x00, 0xb9, 0x00, 0x00, 0x00, 0x14}

type kvmTarget struct {
	target   uint32
	features [7]uint32
}

type kvmOneReg struct{ id, address uint64 }

// setUp starts the processor at guestBase, with the MMU off as after a reset.
func (v *tinyVM) setUp() error {
	var target kvmTarget
	if _, err := ioctl(v.vm, kvmPreferredTarget, unsafe.Pointer(&target)); err != nil {
		return err
	}
	if _, err := ioctl(v.cpu, kvmVCPUInit, unsafe.Pointer(&target)); err != nil {
		return err
	}
	var pins runtime.Pinner // for what the kernel finds by the address in a struct
	defer pins.Unpin()
	for id, value := range map[uint64]uint64{kvmRegX0: 2, kvmRegX0 + 2: guestMMIO, kvmRegX0 + 4: 3, kvmRegPC: guestBase} {
		pins.Pin(&value)
		reg := kvmOneReg{id: id, address: uint64(uintptr(unsafe.Pointer(&value)))}
		if _, err := ioctl(v.cpu, kvmSetOneReg, unsafe.Pointer(&reg)); err != nil {
			return err
		}
	}
	return nil
}

// said tells whether the sum has come out at the address.
func (v *tinyVM) said() bool {
	if v.head().exitReason != kvmExitMMIO {
		return false
	}
	mmio := v.run[kvmExitData:] // address, data, length, whether it is a write
	return binary.LittleEndian.Uint64(mmio) == guestMMIO && binary.LittleEndian.Uint32(mmio[8:]) == guestSum && mmio[20] == 1
}
