package hvt

import (
	"errors"
	"fmt"
	"io"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// memory is that of the guest, by its addresses. Whatever is asked of it comes
// from the guest and is checked.
type memory struct {
	bytes []byte
	fixed []span // not to be written to: segments that are read-only
}

type span struct{ start, end uint64 }

// read returns length bytes at an address that the guest may read.
func (m *memory) read(address, length uint64) ([]byte, bool) {
	size := uint64(len(m.bytes))
	if address < bootInfoAt || address > size || length > size-address {
		return nil, false
	}
	return m.bytes[address : address+length : address+length], true
}

// write returns length bytes at an address that the guest may write.
func (m *memory) write(address, length uint64) ([]byte, bool) {
	if address < guestAt {
		return nil, false
	}
	for _, s := range m.fixed {
		if address < s.end && s.start < address+length {
			return nil, false
		}
	}
	return m.read(address, length)
}

// load reads the segments of an image. The rest of the memory is zero already.
func (m *memory) load(f io.ReaderAt, img solo5.Image) error {
	// The guest starts with its stack at the top.
	if size := uint64(len(m.bytes)); img.EndBytes > size || size-img.EndBytes < solo5.PageBytes {
		return fmt.Errorf("the image takes up %d KiB and needs room for a stack, but has %d MiB of memory in all; give it more with --mem",
			img.EndBytes>>10, size>>20)
	}
	for _, s := range img.Segments {
		if n, err := f.ReadAt(m.bytes[s.Address:s.Address+s.FileBytes], int64(s.Offset)); n < int(s.FileBytes) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read segment at %#x: %w", s.Address, err)
		}
		if s.Writable {
			continue
		}
		end := (s.Address + s.MemoryBytes + solo5.PageBytes - 1) &^ (solo5.PageBytes - 1)
		m.fixed = append(m.fixed, span{s.Address, end})
	}
	return nil
}
