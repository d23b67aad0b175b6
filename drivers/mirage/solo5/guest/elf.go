package guest

import "github.com/edgeio/edgeio/drivers/mirage/solo5"

// The whole file is loaded at loadAddress, headers included, read-only; data,
// which is all zeroes, follows at dataAddress.
const (
	loadAddress = 0x100000
	dataAddress = 0x110000
	dataBytes   = 0x4000

	elfHeaderBytes     = 64
	programHeaderBytes = 56
	programHeaders     = 4
)

// image is what stands around the code.
type image struct {
	target    solo5.Target
	version   uint32
	devices   []solo5.Device
	multiboot bool
}

// head returns all that stands in front of the code, with room for headers.
func (img image) head() []byte {
	b := make([]byte, elfHeaderBytes+programHeaders*programHeaderBytes)
	b = append(b, img.abiNote()...)
	b = append(b, img.manifestNote()...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	if img.multiboot {
		b = append(b, make([]byte, multibootBytes)...)
	}
	return b
}

func noteHeader(length int, kind uint32) []byte {
	b := order.AppendUint32(nil, 6)
	b = order.AppendUint32(b, uint32(length))
	b = order.AppendUint32(b, kind)
	return append(b, "Solo5\x00\x00\x00"...)
}

func (img image) abiNote() []byte {
	b := noteHeader(16, 0x31494241)
	b = order.AppendUint32(b, uint32(img.target))
	b = order.AppendUint32(b, img.version)
	return append(b, make([]byte, 8+4)...) // the manifest is to be aligned to 8
}

func (img image) manifestNote() []byte {
	table := solo5.AppendManifest(make([]byte, 4), img.devices, nil)
	return append(noteHeader(len(table), 0x3154464d), table...)
}

// link puts the headers in front.
func (img image) link(head, code []byte) []byte {
	file := append(head, code...)
	size := uint64(len(file))
	if size > dataAddress-loadAddress {
		panic("guest: the steps are too many: no room for the code")
	}
	entry := uint32(loadAddress + len(head))
	copy(file, elfHeader(uint64(entry)))
	abi := uint64(elfHeaderBytes + programHeaders*programHeaderBytes)
	abiSize := uint64(len(img.abiNote()))

	at := elfHeaderBytes
	for _, p := range []struct {
		kind, flags                                  uint32
		offset, address, fileSize, memorySize, align uint64
	}{
		{1, 5, 0, loadAddress, size, size, solo5.PageBytes},
		{1, 6, 0, dataAddress, 0, dataBytes, solo5.PageBytes},
		{4, 4, abi, 0, abiSize, abiSize, 4},
		{4, 4, abi + abiSize, 0, uint64(len(img.manifestNote())), 0, 8},
	} {
		b := file[at:]
		order.PutUint32(b, p.kind)
		order.PutUint32(b[4:], p.flags)
		order.PutUint64(b[8:], p.offset)
		order.PutUint64(b[16:], p.address)
		order.PutUint64(b[24:], p.address)
		order.PutUint64(b[32:], p.fileSize)
		order.PutUint64(b[40:], p.memorySize)
		order.PutUint64(b[48:], p.align)
		at += programHeaderBytes
	}
	if img.multiboot {
		copy(file[len(head)-multibootBytes:], multibootHeader(uint32(len(head)-multibootBytes), uint32(size), entry))
	}
	return file
}

func elfHeader(entry uint64) []byte {
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	b = order.AppendUint16(b, 2)  // executable
	b = order.AppendUint16(b, 62) // x86_64
	b = order.AppendUint32(b, 1)
	b = order.AppendUint64(b, entry)
	b = order.AppendUint64(b, elfHeaderBytes)
	b = order.AppendUint64(b, 0) // no sections
	b = order.AppendUint32(b, 0)
	for _, v := range []uint16{elfHeaderBytes, programHeaderBytes, programHeaders, 0, 0, 0} {
		b = order.AppendUint16(b, v)
	}
	return b
}
