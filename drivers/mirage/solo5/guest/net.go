package guest

import (
	"math"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// Offsets in Ethernet frames.
const (
	etherTo, etherFrom, etherType = 0, 6, 12

	arpOp, arpFromMAC, arpFromIP, arpToMAC, arpToIP = 20, 22, 28, 32, 38

	ipLength, ipProtocol, ipFrom, ipTo = 14, 23, 26, 30

	icmpType, icmpSum   = 34, 36
	udpFrom, udpTo      = 34, 36
	typeARP, typeIPv4   = 0x0608, 0x0008 // as little-endian words
	arpRequest, arpRply = 0x0100, 0x0200
)

// EchoNet answers on a net device forever: ARP, ICMP echo, and UDP on all
// ports, where it sends back what came. Its address is what the argument
// --ipv4=A.B.C.D[/…] says, the one of MirageOS; without one it exits with 64.
func EchoNet(device string) Step {
	return func(m machine) {
		h := m.hvt()
		handle := h.handle(device, solo5.Net)
		h.findAddress()
		h.findMAC(handle)
		h.echo(handle)
	}
}

// findAddress parses the argument --ipv4= and keeps the address as it is on the wire.
func (h *hvt) findAddress() {
	a := &h.a
	a.load(esi, ebx, bootAt, wide)
	a.load(esi, esi, bootArguments, wide)
	seek, found := a.newLabel(), a.newLabel()
	missing := a.newLabel()
	a.place(seek)
	a.loadByte(eax, esi, 0)
	a.compareWith(eax, 0)
	a.jumpIf(equal, missing)
	a.load(eax, esi, 0, wide)
	a.setWide(ecx, uint64(order.Uint64([]byte("--ipv4=\x00"))))
	// The eighth byte is the first digit: shift it out on both sides.
	a.emit(0x48, 0xc1, 0xe0, 8) // shl rax, 8
	a.emit(0x48, 0xc1, 0xe1, 8) // shl rcx, 8
	a.compare(eax, ecx, wide)
	a.jumpIf(equal, found)
	a.addConst(esi, 1, wide)
	a.jump(seek)
	a.place(missing)
	h.halt(64)
	a.place(found)
	a.addConst(esi, 7, wide)
	a.set(edi, dataAddress+ownIPAt)
	octet := a.mark()
	a.set(ecx, 0)
	digit, after := a.mark(), a.newLabel()
	a.loadByte(eax, esi, 0)
	a.compareWith(eax, '0')
	a.jumpIf(below, after)
	a.compareWith(eax, '9')
	a.jumpIf(above, after)
	a.multiply(ecx, 10)
	a.add(ecx, eax, narrow)
	a.addConst(ecx, ^uint32('0'-1), narrow) // minus '0'
	a.addConst(esi, 1, wide)
	a.jump(digit)
	a.place(after)
	a.storeByte(edi, 0, ecx)
	a.addConst(edi, 1, wide)
	a.addConst(esi, 1, wide)
	a.compareWith(edi, dataAddress+ownIPAt+4)
	a.jumpIf(unequal, octet)
}

// findMAC takes the device's address from the manifest.
func (h *hvt) findMAC(handle uint32) {
	a := &h.a
	row := int32(8 + 104*handle)
	a.load(esi, ebx, bootAt, wide)
	a.load(esi, esi, bootManifest, wide)
	a.load(eax, esi, row+72, narrow)
	a.store(ebx, ownMAC, eax, narrow)
	a.loadShort(eax, esi, row+76)
	a.storeShort(ebx, ownMAC+4, eax)
}

// move copies 4 and 2 bytes as often as needed within a frame at esi.
func (h *hvt) move(base reg, from, to, bytes int32) {
	a := &h.a
	for ; bytes >= 4; bytes, from, to = bytes-4, from+4, to+4 {
		a.load(eax, base, from, narrow)
		a.store(esi, to, eax, narrow)
	}
	if bytes == 2 {
		a.loadShort(eax, base, from)
		a.storeShort(esi, to, eax)
	}
}

func (h *hvt) echo(handle uint32) {
	a := &h.a
	wait, send, arp := a.newLabel(), a.newLabel(), a.newLabel()
	a.place(wait)
	h.poll(math.MaxInt64)
	read := a.mark()
	h.argumentConst(0, handle)
	h.argumentConst(1, dataAddress+frameAt)
	h.argumentConst(2, frameSz)
	h.hypercall(callNetRead)
	a.load(eax, ebx, argsAt+24, narrow)
	a.compareWith(eax, 0)
	a.jumpIf(unequal, wait)

	a.set(esi, dataAddress+frameAt)
	a.loadShort(eax, esi, etherType)
	a.compareWith(eax, typeARP)
	a.jumpIf(equal, arp)
	a.compareWith(eax, typeIPv4)
	a.jumpIf(unequal, read)
	h.answerIPv4(read, send)
	a.place(arp)
	h.answerARP(read)

	a.place(send)
	h.move(esi, etherFrom, etherTo, 6)
	h.move(ebx, ownMAC, etherFrom, 6)
	// Handle, address and length stand in the argument from the read.
	h.hypercall(callNetWrite)
	a.jump(read)
}

// unlessMine jumps to l if the 4 bytes of the frame are not the own address.
func (h *hvt) unlessMine(at int32, l label) {
	h.a.load(eax, esi, at, narrow)
	h.a.load(ecx, ebx, ownIPAt, narrow)
	h.a.compare(eax, ecx, narrow)
	h.a.jumpIf(unequal, l)
}

// answerARP turns a request into its answer and goes on behind itself, or to ignore.
func (h *hvt) answerARP(ignore label) {
	a := &h.a
	a.loadShort(eax, esi, arpOp)
	a.compareWith(eax, arpRequest)
	a.jumpIf(unequal, ignore)
	h.unlessMine(arpToIP, ignore)
	a.set(eax, arpRply)
	a.storeShort(esi, arpOp, eax)
	h.move(esi, arpFromMAC, arpToMAC, 10)
	h.move(ebx, ownMAC, arpFromMAC, 6)
	h.move(ebx, ownIPAt, arpFromIP, 4)
}

// answerIPv4 turns an echo request or a UDP packet into its answer and goes to send.
func (h *hvt) answerIPv4(ignore, send label) {
	a := &h.a
	udp := a.newLabel()
	a.loadByte(eax, esi, ipLength)
	a.compareWith(eax, 0x45)
	a.jumpIf(unequal, ignore)
	h.unlessMine(ipTo, ignore)
	h.move(esi, ipFrom, ipTo, 4)
	h.move(ebx, ownIPAt, ipFrom, 4)
	a.loadByte(eax, esi, ipProtocol)
	a.compareWith(eax, 17)
	a.jumpIf(equal, udp)
	a.compareWith(eax, 1)
	a.jumpIf(unequal, ignore)
	a.loadByte(eax, esi, icmpType)
	a.compareWith(eax, 8)
	a.jumpIf(unequal, ignore)
	a.set(eax, 0)
	a.storeByte(esi, icmpType, eax)
	// The sum grows by what the type has lost, with the carry added: it is in
	// ones' complement. add word [esi+sum], 8; adc word [esi+sum], 0
	a.emit(0x66, 0x83)
	a.memory(0, esi, icmpSum)
	a.emit(8, 0x66, 0x83)
	a.memory(2, esi, icmpSum)
	a.emit(0)
	a.jump(send)
	a.place(udp)
	// The sum of a packet does not care which port is which.
	a.loadShort(eax, esi, udpFrom)
	a.loadShort(ecx, esi, udpTo)
	a.storeShort(esi, udpFrom, ecx)
	a.storeShort(esi, udpTo, eax)
	a.jump(send)
}
