package hvt

import (
	"encoding/binary"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// What lies below the guest's own memory. The guest sees it read-only, and
// nothing at all below bootInfoAt.
const (
	gdtAt  = 0x1000
	pml4At = 0x2000
	pdptAt = 0x3000
	pdsAt  = 0x4000 // four of them: 4 GiB
	ptAt   = 0x8000 // for the first 2 MiB

	bootInfoAt  = 0x10000
	manifestAt  = 0x10100
	argumentsAt = (manifestAt + solo5.MaxManifestBytes + 7) &^ 7
	guestAt     = 0x100000
)

// Bits of page table entries.
const (
	pagePresent  = 1 << 0
	pageWritable = 1 << 1
	pageLarge    = 1 << 7

	pageBytes      = 1 << 12
	largePageBytes = 1 << 21
	pagesPerTable  = 512
)

// Descriptors of the GDT, by index.
const (
	gdtCode = 1
	gdtData = 2

	codeDescriptor = 0x00af9b000000ffff // 64-bit code, present, accessed
	dataDescriptor = 0x00cf93000000ffff
)

var order = binary.LittleEndian

// setUpTables writes descriptors and page tables: memory is mapped to its own
// addresses, by large pages but for the first one. mem is its beginning at least.
func setUpTables(mem []byte, memoryBytes uint64) {
	put := func(at, index int, v uint64) { order.PutUint64(mem[at+8*index:], v) }
	put(gdtAt, gdtCode, codeDescriptor)
	put(gdtAt, gdtData, dataDescriptor)

	put(pml4At, 0, pdptAt|pagePresent|pageWritable)
	for i := range 4 {
		put(pdptAt, i, uint64(pdsAt+i*pageBytes)|pagePresent|pageWritable)
	}
	put(pdsAt, 0, ptAt|pagePresent|pageWritable)
	for i := 1; i < int(memoryBytes/largePageBytes); i++ {
		put(pdsAt, i, uint64(i)*largePageBytes|pagePresent|pageWritable|pageLarge)
	}
	for i := bootInfoAt / pageBytes; i < pagesPerTable; i++ {
		entry := uint64(i*pageBytes) | pagePresent
		if i >= guestAt/pageBytes {
			entry |= pageWritable
		}
		put(ptAt, i, entry)
	}
}

// handOver writes what the guest is told at its start.
func handOver(mem []byte, img solo5.Image, attached []solo5.Attachment, arguments string, cyclesPerSecond uint64) {
	var table [solo5.MaxManifestBytes]byte
	copy(mem[manifestAt:], solo5.AppendManifest(table[:0], img.Devices, attached))
	copy(mem[argumentsAt:], arguments) // the byte behind it is zero already
	info := mem[bootInfoAt:]
	for i, v := range []uint64{uint64(len(mem)), img.EndBytes, cyclesPerSecond, argumentsAt, manifestAt} {
		order.PutUint64(info[8*i:], v)
	}
	// Features of host and guest, and a ring for net: none.
}
