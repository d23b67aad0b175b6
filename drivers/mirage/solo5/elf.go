package solo5

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Numbers of the ELF format, and what is taken of them.
const (
	headerBytes  = 64
	programBytes = 56
	maxPrograms  = 64 // images have about ten

	etExec = 2
	etDyn  = 3

	ptLoad = 1
	ptNote = 4

	pfExecute = 1
	pfWrite   = 2
)

// machines are those that Solo5 runs on, by e_machine.
var machines = map[uint16]string{62: "amd64", 183: "arm64", 21: "ppc64le"}

type header struct {
	kind, machine uint16
	entry         uint64
	programs      uint64 // offset of the program headers
	count         int
}

func (h header) arch() (string, error) {
	name, ok := machines[h.machine]
	if !ok {
		return "", fmt.Errorf("image is for ELF machine %d, which Solo5 does not run on", h.machine)
	}
	return name, nil
}

func readHeader(f io.ReaderAt, size int64) (header, error) {
	if size < headerBytes {
		return header{}, fmt.Errorf("%w: too short for an ELF file (%d bytes)", ErrNotSolo5, size)
	}
	var b [headerBytes]byte
	if err := readFull(f, b[:], 0); err != nil {
		return header{}, fmt.Errorf("read ELF header: %w", err)
	}
	if !bytes.HasPrefix(b[:], []byte("\x7fELF")) {
		return header{}, fmt.Errorf("%w: not an ELF file", ErrNotSolo5)
	}
	if b[4] != 2 || b[5] != 1 || b[6] != 1 {
		return header{}, fmt.Errorf("%w: ELF class %d, byte order %d, version %d; Solo5 uses 64 bits, little-endian, version 1", ErrNotSolo5, b[4], b[5], b[6])
	}
	h := header{
		kind: order.Uint16(b[16:]), machine: order.Uint16(b[18:]), entry: order.Uint64(b[24:]),
		programs: order.Uint64(b[32:]), count: int(order.Uint16(b[56:])),
	}
	if h.kind != etExec && h.kind != etDyn {
		return header{}, fmt.Errorf("%w: ELF type %d is not something to run", ErrNotSolo5, h.kind)
	}
	if h.count == 0 {
		return header{}, fmt.Errorf("%w: no program headers", ErrNotSolo5)
	}
	if got := order.Uint16(b[54:]); got != programBytes {
		return header{}, fmt.Errorf("program headers are of %d bytes, want %d", got, programBytes)
	}
	return h, nil
}

// program is one program header, its range in file and memory checked.
type program struct {
	kind, flags            uint32
	offset, address        uint64
	fileBytes, memoryBytes uint64
}

func readPrograms(f io.ReaderAt, size int64, h header) ([]program, error) {
	if h.count > maxPrograms {
		return nil, fmt.Errorf("%d program headers are too many, at most %d are taken", h.count, maxPrograms)
	}
	b := make([]byte, h.count*programBytes)
	if !inside(h.programs, uint64(len(b)), size) {
		return nil, fmt.Errorf("program headers at %#x lie beyond the end of the file (%d bytes)", h.programs, size)
	}
	if err := readFull(f, b, int64(h.programs)); err != nil {
		return nil, fmt.Errorf("read program headers: %w", err)
	}
	programs := make([]program, h.count)
	for i := range programs {
		b := b[i*programBytes:]
		p := program{
			kind: order.Uint32(b), flags: order.Uint32(b[4:]), offset: order.Uint64(b[8:]), address: order.Uint64(b[16:]),
			fileBytes: order.Uint64(b[32:]), memoryBytes: order.Uint64(b[40:]),
		}
		if err := p.check(size); err != nil {
			return nil, fmt.Errorf("program header %d: %w", i, err)
		}
		programs[i] = p
	}
	return programs, nil
}

func (p program) check(size int64) error {
	if p.kind != ptLoad && p.kind != ptNote {
		return nil // not looked at; images name a loader that does not exist, so that no kernel runs them as programs
	}
	if !inside(p.offset, p.fileBytes, size) {
		return fmt.Errorf("%d bytes at %#x lie beyond the end of the file (%d bytes)", p.fileBytes, p.offset, size)
	}
	if p.kind == ptNote {
		return nil
	}
	if p.fileBytes > p.memoryBytes {
		return fmt.Errorf("%d bytes of the file are for %d bytes of memory", p.fileBytes, p.memoryBytes)
	}
	if p.address+p.memoryBytes < p.address {
		return fmt.Errorf("%d bytes at address %#x go beyond the end of all addresses", p.memoryBytes, p.address)
	}
	return nil
}

// inside reports whether length bytes at offset are in a file of size bytes.
func inside(offset, length uint64, size int64) bool {
	return offset <= uint64(size) && length <= uint64(size)-offset
}

// readFull is ReadAt, where a short file is an error with a name.
func readFull(f io.ReaderAt, b []byte, offset int64) error {
	n, err := f.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
