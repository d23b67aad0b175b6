package guest

import (
	"fmt"
	"time"
)

const (
	multibootBytes = 32
	multibootMagic = 0x1badb002
	// Pages for modules, memory information, and addresses in this header:
	// the loader then does not mind that the file is a 64-bit ELF.
	multibootFlags = 1<<16 | 1<<1

	com1      = 0x3f8
	debugExit = 0x501
	// exitValue makes QEMU end with status 83, as Solo5 does.
	exitValue = 41

	mbiAt       = 0x80 // in the data: address of the multiboot information
	stackBytes  = dataBytes
	tickOfTimer = 54925 * time.Microsecond // 65536 / 1193182 Hz
)

// multibootHeader is that of a file of size bytes with the header at offset at.
func multibootHeader(at, size, entry uint32) []byte {
	sum := uint32(multibootMagic)
	sum += multibootFlags
	var b []byte
	for _, v := range []uint32{
		multibootMagic, multibootFlags, -sum, loadAddress + at, loadAddress, loadAddress + size, dataAddress + dataBytes, entry,
	} {
		b = order.AppendUint32(b, v)
	}
	return b
}

// virtio guests run in 32-bit mode as the boot loader leaves them.
type virtio struct {
	a    asm
	puts label // subroutine: prints ecx bytes at esi
}

func (v *virtio) asm() *asm { return &v.a }
func (v *virtio) hvt() *hvt { panic("guest: virtio guests have no devices and no hypercalls") }

func (v *virtio) prologue() {
	a := &v.a
	a.set(esp, dataAddress+stackBytes)
	a.set(ebp, dataAddress)
	a.store(ebp, mbiAt, ebx, narrow)
	start := a.newLabel()
	a.jump(start)
	v.puts = a.mark()
	v.putsRoutine()
	a.place(start)
}

func (v *virtio) putsRoutine() {
	a := &v.a
	next, done := a.newLabel(), a.newLabel()
	a.place(next)
	a.compareWith(ecx, 0)
	a.jumpIf(equal, done)
	a.set(edx, com1+5)
	full := a.mark()
	a.inByte()
	a.testByte(0x20)
	a.jumpIf(equal, full)
	a.set(edx, com1)
	a.loadByte(eax, esi, 0)
	a.outByte()
	a.addConst(esi, 1, narrow)
	a.addConst(ecx, ^uint32(0), narrow)
	a.jump(next)
	a.place(done)
	a.ret()
}

func (v *virtio) print(text string) {
	v.a.loadText(esi, text)
	v.a.set(ecx, uint32(len(text)))
	v.a.call(v.puts)
}

// printCommandLine leaves the first word out: the loader puts the file's name there.
func (v *virtio) printCommandLine() {
	a := &v.a
	a.load(esi, ebp, mbiAt, narrow)
	a.load(esi, esi, 16, narrow)
	skip, count, done := a.newLabel(), a.newLabel(), a.newLabel()
	a.place(skip)
	a.loadByte(eax, esi, 0)
	a.compareWith(eax, 0)
	a.jumpIf(equal, done)
	a.addConst(esi, 1, narrow)
	a.compareWith(eax, ' ')
	a.jumpIf(unequal, skip)
	a.place(done)
	a.set(ecx, 0)
	a.copy(edi, esi, narrow)
	a.place(count)
	end := a.newLabel()
	a.loadByte(eax, edi, 0)
	a.compareWith(eax, 0)
	a.jumpIf(equal, end)
	a.addConst(edi, 1, narrow)
	a.addConst(ecx, 1, narrow)
	a.jump(count)
	a.place(end)
	a.call(v.puts)
}

// sleep counts rounds of the second channel of the timer: there are no interrupts.
func (v *virtio) sleep(d time.Duration) {
	a := &v.a
	if d < 0 {
		again := a.mark()
		a.stopForever()
		a.jump(again)
		return
	}
	a.set(ecx, uint32((d+tickOfTimer-1)/tickOfTimer))
	again, done := a.mark(), a.newLabel()
	a.compareWith(ecx, 0)
	a.jumpIf(equal, done)
	a.writeByte(0x61, 0x01)
	a.writeByte(0x43, 0xb0)
	a.writeByte(0x42, 0xff)
	a.writeByte(0x42, 0xff)
	wait := a.mark()
	a.pause()
	a.set(edx, 0x61)
	a.inByte()
	a.testByte(0x20)
	a.jumpIf(equal, wait)
	a.addConst(ecx, ^uint32(0), narrow)
	a.jump(again)
	a.place(done)
}

func (v *virtio) exit(status uint8) {
	v.end(fmt.Sprintf("Solo5: solo5_exit(%d) called\n", status))
}

func (v *virtio) abort() { v.end("Solo5: solo5_abort() called\n") }

func (v *virtio) end(message string) {
	v.print(message)
	v.writeByte(debugExit, exitValue)
	v.sleep(-1) // without the device for it
}

func (v *virtio) writeByte(port uint32, value uint8) { v.a.writeByte(port, value) }
