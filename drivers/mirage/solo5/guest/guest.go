// Package guest makes tiny Solo5 images for tests, without a compiler: a few
// hundred bytes that print, sleep, end, crash, answer on a net device or use a
// block device. Images are for x86_64 and the targets hvt and virtio.
//
// A guest is a list of steps, done one after the other:
//
//	image := guest.HVT(nil, guest.Print("hello\n"), guest.Exit(3))
//
// hvt guests can do all steps. Virtio guests have no devices: they can do
// Print, PrintCommandLine, Sleep, SleepForever, Spin, Exit, Abort, Crash, Code
// and Loop. They run in 32-bit mode on COM1 and isa-debug-exit, and say like Solo5
// how they end ("Solo5: solo5_exit(3) called"), since QEMU's status does not.
// Where a target cannot do a step, HVT or Virtio panic: that is a mistake in a test.
package guest

import (
	"time"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// Step is one thing that a guest does.
type Step func(machine)

// machine knows how one target does the basic steps.
type machine interface {
	asm() *asm
	prologue()
	print(text string)
	printCommandLine()
	sleep(time.Duration)
	exit(status uint8)
	abort()
	hvt() *hvt // panics for others
}

// Print prints a text, which may be of any bytes.
func Print(text string) Step { return func(m machine) { m.print(text) } }

// PrintCommandLine prints the arguments, joined by spaces, without a newline.
func PrintCommandLine() Step { return machine.printCommandLine }

// Sleep waits, without using the processor on hvt. On virtio it is exact to 55 ms.
func Sleep(d time.Duration) Step { return func(m machine) { m.sleep(d) } }

// SleepForever waits for the end, using the processor not at all.
func SleepForever() Step { return func(m machine) { m.sleep(-1) } }

// Spin uses the processor forever.
func Spin() Step {
	return func(m machine) {
		a := m.asm()
		again := a.mark()
		a.pause()
		a.jump(again)
	}
}

// Exit ends the guest with a status. A guest whose steps are all done exits with 0.
func Exit(status uint8) Step { return func(m machine) { m.exit(status) } }

// Abort ends the guest as Solo5's abort does: status 255.
func Abort() Step { return machine.abort }

// Crash runs an instruction that does not exist. There is nobody to handle that.
func Crash() Step { return func(m machine) { m.asm().undefined() } }

// Code runs instructions given as machine code, for tests that want it bad.
func Code(instructions ...byte) Step { return func(m machine) { m.asm().emit(instructions...) } }

// Loop repeats steps forever.
func Loop(steps ...Step) Step {
	return func(m machine) {
		again := m.asm().mark()
		for _, s := range steps {
			s(m)
		}
		m.asm().jump(again)
	}
}

// HVT returns an image for hvt tenders.
func HVT(devices []solo5.Device, steps ...Step) []byte {
	h := &hvt{a: asm{}, devices: devices}
	return build(h, image{target: solo5.HVT, version: 2, devices: devices}, steps)
}

// Virtio returns an image for virtual machines that boot by multiboot, as
// qemu-system-x86_64 -kernel does.
func Virtio(steps ...Step) []byte {
	v := &virtio{}
	return build(v, image{target: solo5.Virtio, version: 1, multiboot: true}, steps)
}

func build(m machine, img image, steps []Step) []byte {
	head := img.head()
	a := m.asm()
	a.base = loadAddress + uint32(len(head))
	m.prologue()
	for _, s := range steps {
		s(m)
	}
	m.exit(0)
	return img.link(head, a.finish())
}
