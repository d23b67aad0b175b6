package guest

import "github.com/edgeio/edgeio/drivers/mirage/solo5"

// StatusBlock is how a guest exits when the block device refuses a call.
const StatusBlock = 70

// WriteBlock writes a sector that begins with text, the rest zeroes, at an offset in bytes.
func WriteBlock(device string, offset uint64, text string) Step {
	return func(m machine) {
		h := m.hvt()
		a := &h.a
		a.set(edi, dataAddress+blockAt)
		a.set(eax, 0)
		a.set(ecx, frameAt-blockAt)
		a.fill()
		a.set(edi, dataAddress+blockAt)
		a.loadText(esi, text)
		a.set(ecx, uint32(len(text)))
		a.move()
		h.blockCall(callBlockWrite, device, offset)
	}
}

// PrintBlock reads the sector at an offset in bytes and prints its first bytes.
func PrintBlock(device string, offset uint64, bytes uint32) Step {
	return func(m machine) {
		h := m.hvt()
		h.blockCall(callBlockRead, device, offset)
		PrintMemory(dataAddress+blockAt, uint64(bytes))(m)
	}
}

func (h *hvt) blockCall(number uint32, device string, offset uint64) {
	handle := h.handle(device, solo5.Block)
	a := &h.a
	h.argumentConst(0, handle)
	a.setWide(eax, offset)
	h.argument(1, eax)
	h.argumentConst(2, dataAddress+blockAt)
	// The manifest tells the size of a sector.
	a.load(esi, ebx, bootAt, wide)
	a.load(esi, esi, bootManifest, wide)
	a.loadShort(eax, esi, int32(8+104*handle+80))
	h.argument(3, eax)
	h.hypercall(number)
	h.exitUnlessZero(4, StatusBlock)
}
