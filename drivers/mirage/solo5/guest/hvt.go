package guest

import (
	"fmt"
	"math"
	"time"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// Numbers of the hypercalls: "out" of their argument's address to port 0x500+n.
const (
	callWalltime = 1 + iota
	callPuts
	callPoll
	callBlockWrite
	callBlockRead
	callNetWrite
	callNetRead
	callHalt
)

// Where things are in the guest's data. ebx always points to it.
const (
	argsAt  = 0x00 // argument of a hypercall
	bootAt  = 0x80 // what the tender has handed over: address of the boot info
	ownIPAt = 0x90
	ownMAC  = 0x98
	countAt = 0xa0 // rounds that Repeat has left
	blockAt = 0x1000
	frameAt = 0x2000
	frameSz = 0x1000
)

// Offsets in the boot info.
const (
	bootKernelEnd = 8
	bootArguments = 24
	bootManifest  = 32
)

type hvt struct {
	a       asm
	devices []solo5.Device
}

func (h *hvt) asm() *asm { return &h.a }
func (h *hvt) hvt() *hvt { return h }

func (h *hvt) prologue() {
	h.a.set(ebx, dataAddress)
	h.a.store(ebx, bootAt, edi, wide)
}

// handle returns that of a device of the manifest.
func (h *hvt) handle(name string, t solo5.DeviceType) uint32 {
	for i, d := range h.devices {
		if d.Name == name && d.Type == t {
			return uint32(i + 1)
		}
	}
	panic(fmt.Sprintf("guest: no %s device %q in its manifest", t, name))
}

// argument sets a word of the argument from a register.
func (h *hvt) argument(index int32, r reg) { h.a.store(ebx, argsAt+8*index, r, wide) }

func (h *hvt) argumentConst(index int32, v uint32) {
	h.a.set(eax, v)
	h.argument(index, eax)
}

func (h *hvt) hypercall(number uint32) {
	h.a.set(eax, dataAddress+argsAt)
	h.a.set(edx, 0x500+number)
	h.a.outLong()
}

func (h *hvt) print(text string) {
	h.a.loadText(eax, text)
	h.argument(0, eax)
	h.argumentConst(1, uint32(len(text)))
	h.hypercall(callPuts)
}

func (h *hvt) printCommandLine() {
	a := &h.a
	a.load(esi, ebx, bootAt, wide)
	a.load(esi, esi, bootArguments, wide)
	h.argument(0, esi)
	a.set(ecx, 0)
	next, done := a.mark(), a.newLabel()
	a.loadByte(eax, esi, 0)
	a.compareWith(eax, 0)
	a.jumpIf(equal, done)
	a.addConst(esi, 1, wide)
	a.addConst(ecx, 1, wide)
	a.jump(next)
	a.place(done)
	h.argument(1, ecx)
	h.hypercall(callPuts)
}

func (h *hvt) sleep(d time.Duration) {
	if d < 0 {
		again := h.a.mark()
		h.poll(math.MaxInt64)
		h.a.jump(again)
		return
	}
	h.poll(uint64(d))
}

func (h *hvt) poll(nanoseconds uint64) {
	h.a.setWide(eax, nanoseconds)
	h.argument(0, eax)
	h.hypercall(callPoll)
}

func (h *hvt) exit(status uint8) { h.halt(uint32(status)) }
func (h *hvt) abort()            { h.halt(255) }

func (h *hvt) halt(status uint32) {
	h.argumentConst(0, 0)
	h.argumentConst(1, status)
	h.hypercall(callHalt)
}

// exitUnlessZero ends the guest if the 32-bit word of the argument is not zero.
func (h *hvt) exitUnlessZero(index int32, status uint32) {
	fine := h.a.newLabel()
	h.a.load(eax, ebx, argsAt+8*index, narrow)
	h.a.compareWith(eax, 0)
	h.a.jumpIf(equal, fine)
	h.halt(status)
	h.a.place(fine)
}

// PrintMemory prints length bytes at any address, also such that is not the guest's.
func PrintMemory(address, length uint64) Step {
	return func(m machine) {
		h := m.hvt()
		h.a.setWide(eax, address)
		h.argument(0, eax)
		h.a.setWide(eax, length)
		h.argument(1, eax)
		h.hypercall(callPuts)
	}
}

// Hypercall makes the call of a number, known or not, with any address.
func Hypercall(number, address uint32) Step {
	return func(m machine) {
		h := m.hvt()
		h.a.set(eax, address)
		h.a.set(edx, 0x500+number)
		h.a.outLong()
	}
}

// PrintClock prints the time of day: 8 bytes, nanoseconds since 1970, little-endian.
func PrintClock() Step {
	return func(m machine) {
		m.hvt().hypercall(callWalltime)
		m.hvt().a.load(eax, ebx, argsAt, wide)
		m.hvt().a.store(ebx, blockAt, eax, wide)
		PrintMemory(dataAddress+blockAt, 8)(m)
	}
}

// Touch writes to so many bytes of memory from the image's end on, a page at a time.
func Touch(bytes uint32) Step {
	return func(m machine) {
		a := &m.hvt().a
		a.load(esi, ebx, bootAt, wide)
		a.load(esi, esi, bootKernelEnd, wide)
		a.copy(ecx, esi, wide)
		a.addConst(ecx, bytes, wide)
		next, done := a.mark(), a.newLabel()
		a.compare(esi, ecx, wide)
		a.jumpIf(above, done)
		a.jumpIf(equal, done)
		a.storeByte(esi, 0, ecx)
		a.addConst(esi, solo5.PageBytes, wide)
		a.jump(next)
		a.place(done)
	}
}

// Store writes a byte to any address below 4 GiB.
func Store(address uint32) Step {
	return func(m machine) {
		a := &m.hvt().a
		a.set(esi, address)
		a.storeByte(esi, 0, eax)
	}
}

// Repeat does steps n times. It cannot be within itself.
func Repeat(n uint32, steps ...Step) Step {
	return func(m machine) {
		a := &m.hvt().a
		a.set(eax, n)
		a.store(ebx, countAt, eax, narrow)
		again, done := a.mark(), a.newLabel()
		a.load(eax, ebx, countAt, narrow)
		a.compareWith(eax, 0)
		a.jumpIf(equal, done)
		a.addConst(eax, ^uint32(0), narrow)
		a.store(ebx, countAt, eax, narrow)
		for _, s := range steps {
			s(m)
		}
		a.jump(again)
		a.place(done)
	}
}
