// Package solo5 reads Solo5 unikernel images: what they are made for and which
// devices they want. It tells that by the ELF notes that the Solo5 toolchain
// puts in, never by a file's name.
//
// Every image is taken for hostile: all counts, sizes and addresses are checked
// before they are used, and what is ambiguous is refused. Nothing is run or
// loaded here. Source of the formats: the public Solo5 ABI (hvt 2, spt 2,
// virtio 1, manifest 1) and the ELF-64 object file format.
package solo5

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// ErrNotSolo5 is in the errors of files that are no Solo5 images at all. Other
// errors are about images that are damaged or made to do harm.
var ErrNotSolo5 = errors.New("not a Solo5 image")

// Target is what an image is made to run on. Numbers are those of the ABI note.
type Target uint32

// The targets that Solo5 knows.
const (
	HVT    Target = 1 // a hardware-virtualised tender: solo5-hvt, edgehvt
	SPT    Target = 2 // a sandboxed process: solo5-spt
	Virtio Target = 3 // a virtual machine with virtio devices: QEMU
	Muen   Target = 4
	Genode Target = 5
	Xen    Target = 6
)

var targetNames = [...]string{HVT: "hvt", SPT: "spt", Virtio: "virtio", Muen: "muen", Genode: "genode", Xen: "xen"}

func (t Target) known() bool { return t > 0 && int(t) < len(targetNames) }

// String returns the name that Solo5 uses: hvt, spt, virtio, muen, genode, xen.
func (t Target) String() string {
	if !t.known() {
		return "target " + strconv.FormatUint(uint64(t), 10)
	}
	return targetNames[t]
}

// MarshalText makes a Target its name in JSON.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Image is what an image says about itself, checked.
type Image struct {
	Target     Target `json:"target"`
	ABIVersion uint32 `json:"abi_version"`
	// Arch is named as Go names it: amd64, arm64, ppc64le.
	Arch  string `json:"arch"`
	Entry uint64 `json:"entry"`
	// Devices are in the order of the manifest: the handle of Devices[i] is i+1.
	Devices []Device `json:"devices"`
	// Segments are what is loaded, by ascending address, without overlaps.
	Segments []Segment `json:"segments"`
	// EndBytes is the end of the last segment, rounded up to pages: memory
	// that the image takes up before it has a stack or a heap.
	EndBytes uint64 `json:"end_bytes"`
}

// Segment is a part of the file that is loaded, followed by zeroes up to MemoryBytes.
type Segment struct {
	Address     uint64 `json:"address"`
	Offset      uint64 `json:"offset"`
	FileBytes   uint64 `json:"file_bytes"`
	MemoryBytes uint64 `json:"memory_bytes"`
	Writable    bool   `json:"writable"`
	Executable  bool   `json:"executable"`
}

// PageBytes is the alignment of segments.
const PageBytes = 4096

// lowestAddress is where tenders put what they hand to a guest, below its segments.
const lowestAddress = 0x100000

// Inspect reads the headers and notes of the image in f, of size bytes.
func Inspect(f io.ReaderAt, size int64) (Image, error) {
	header, err := readHeader(f, size)
	if err != nil {
		return Image{}, err
	}
	programs, err := readPrograms(f, size, header)
	if err != nil {
		return Image{}, err
	}
	img := Image{Entry: header.entry, Devices: []Device{}}
	if err := img.readNotes(f, programs); err != nil {
		return Image{}, err
	}
	if img.Arch, err = header.arch(); err != nil {
		return Image{}, err
	}
	if err := img.addSegments(programs); err != nil {
		return Image{}, err
	}
	return img, img.check(header)
}

// addSegments keeps what is loaded, and the rules that hold for each target.
func (img *Image) addSegments(programs []program) error {
	end := uint64(0)
	for _, p := range programs {
		if p.kind != ptLoad || p.memoryBytes == 0 {
			continue
		}
		if p.address < end {
			return fmt.Errorf("segment at %#x begins before the one in front of it ends (%#x)", p.address, end)
		}
		end = p.address + p.memoryBytes // readPrograms has refused overflows
		img.Segments = append(img.Segments, Segment{
			Address: p.address, Offset: p.offset, FileBytes: p.fileBytes, MemoryBytes: p.memoryBytes,
			Writable: p.flags&pfWrite != 0, Executable: p.flags&pfExecute != 0,
		})
	}
	if len(img.Segments) == 0 {
		return errors.New("image has nothing to load")
	}
	if end > ^uint64(0)-PageBytes {
		return fmt.Errorf("image ends at %#x, beyond any memory", end)
	}
	img.EndBytes = (end + PageBytes - 1) &^ (PageBytes - 1)
	return nil
}

// check looks at how it all goes together. Tenders of hvt and spt load images
// themselves and have rules of their own.
func (img *Image) check(h header) error {
	tendered := img.Target == HVT || img.Target == SPT
	if tendered && h.kind != etExec {
		return fmt.Errorf("%s image is of ELF type %d, want an executable at fixed addresses (2)", img.Target, h.kind)
	}
	entered := false
	for _, s := range img.Segments {
		if img.Entry >= s.Address && img.Entry-s.Address < s.MemoryBytes && s.Executable {
			entered = true
		}
		if !tendered {
			continue
		}
		switch {
		case s.Address < lowestAddress:
			return fmt.Errorf("segment at %#x is below %#x, which is the tender's", s.Address, lowestAddress)
		case s.Address%PageBytes != 0:
			return fmt.Errorf("segment at %#x does not begin on a page", s.Address)
		case s.Writable && s.Executable:
			return fmt.Errorf("segment at %#x is both writable and executable", s.Address)
		}
	}
	if !entered {
		return fmt.Errorf("entry point %#x is not in an executable segment", img.Entry)
	}
	return nil
}

var order = binary.LittleEndian
