package solo5

import (
	"errors"
	"fmt"
	"io"
)

// The notes of Solo5. Each has a program header of its own and is the first
// note there; tenders look at no others.
const (
	noteHeaderBytes = 20 // three words and the owner, padded
	noteOwner       = "Solo5\x00\x00\x00"
	noteABI         = 0x31494241 // "ABI1"
	noteManifest    = 0x3154464d // "MFT1"
	abiBytes        = 16
	maxABIBytes     = 32
)

type note struct {
	kind   uint32
	length uint32
	offset int64 // of the description
}

// readNotes fills in what the two notes say.
func (img *Image) readNotes(f io.ReaderAt, programs []program) error {
	var abi, manifest bool
	for _, p := range programs {
		n, ok, err := readNote(f, p)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		switch n.kind {
		case noteABI:
			if abi {
				return errors.New("image has more than one ABI note")
			}
			abi = true
			err = img.readABI(f, n)
		case noteManifest:
			if manifest {
				return errors.New("image has more than one manifest")
			}
			manifest = true
			err = img.readManifest(f, n)
		}
		if err != nil {
			return err
		}
	}
	if !abi {
		return fmt.Errorf("%w: no ABI note", ErrNotSolo5)
	}
	if !manifest {
		return errors.New("image has no manifest; it is made by solo5-elftool when the unikernel is linked")
	}
	return nil
}

// readNote returns the first note of p if Solo5 is its owner.
func readNote(f io.ReaderAt, p program) (note, bool, error) {
	if p.kind != ptNote || p.fileBytes < noteHeaderBytes {
		return note{}, false, nil
	}
	var b [noteHeaderBytes]byte
	if err := readFull(f, b[:], int64(p.offset)); err != nil {
		return note{}, false, fmt.Errorf("read note at %#x: %w", p.offset, err)
	}
	if order.Uint32(b[:]) != 6 || string(b[12:]) != noteOwner {
		return note{}, false, nil
	}
	n := note{kind: order.Uint32(b[8:]), length: order.Uint32(b[4:]), offset: int64(p.offset) + noteHeaderBytes}
	if uint64(n.length) > p.fileBytes-noteHeaderBytes {
		return note{}, false, fmt.Errorf("note at %#x has %d bytes, more than its segment", p.offset, n.length)
	}
	return n, true, nil
}

func (img *Image) readABI(f io.ReaderAt, n note) error {
	if n.length < abiBytes || n.length > maxABIBytes {
		return fmt.Errorf("ABI note has %d bytes, want %d", n.length, abiBytes)
	}
	var b [abiBytes]byte
	if err := readFull(f, b[:], n.offset); err != nil {
		return fmt.Errorf("read ABI note: %w", err)
	}
	img.Target, img.ABIVersion = Target(order.Uint32(b[:])), order.Uint32(b[4:])
	if !img.Target.known() {
		return fmt.Errorf("ABI note names target %d, which is unknown", uint32(img.Target))
	}
	if img.ABIVersion == 0 {
		return errors.New("ABI note has version 0")
	}
	if order.Uint64(b[8:]) != 0 {
		return errors.New("ABI note has something in its reserved words")
	}
	return nil
}
