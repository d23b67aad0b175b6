package solo5_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
	"github.com/edgeio/edgeio/drivers/mirage/solo5/guest"
)

var (
	devices = []solo5.Device{{Name: "service0", Type: solo5.Net}, {Name: "storage", Type: solo5.Block}}
	order   = binary.LittleEndian
)

func sound() []byte { return guest.HVT(devices, guest.Print("x")) }

func inspect(b []byte) (solo5.Image, error) {
	return solo5.Inspect(bytes.NewReader(b), int64(len(b)))
}

func TestInspect(t *testing.T) {
	b := sound()
	got, err := inspect(b)
	if err != nil {
		t.Fatal(err)
	}
	want := solo5.Image{
		Target: solo5.HVT, ABIVersion: 2, Arch: "amd64", Entry: got.Entry, Devices: devices, EndBytes: 0x114000,
		Segments: []solo5.Segment{
			{Address: 0x100000, FileBytes: uint64(len(b)), MemoryBytes: uint64(len(b)), Executable: true},
			{Address: 0x110000, MemoryBytes: 0x4000, Writable: true},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	text, err := json.Marshal(got)
	if err != nil || !strings.Contains(string(text), `"target":"hvt"`) || !strings.Contains(string(text), `{"name":"storage","type":"block"}`) {
		t.Errorf("as JSON: %s, %v", text, err)
	}
}

// Where things are in what package guest makes.
const (
	load     = 64 // program headers
	data     = load + 56
	abi      = data + 56
	manifest = abi + 56
	abiNote  = load + 4*56
	table    = abiNote + 40 + 24 // version, count, rows
	row      = table + 8
)

// put32 and put64 change one number of an image.
func put32(at int, v uint32) func([]byte) []byte {
	return func(b []byte) []byte { order.PutUint32(b[at:], v); return b }
}

func put64(at int, v uint64) func([]byte) []byte {
	return func(b []byte) []byte { order.PutUint64(b[at:], v); return b }
}

func put8(at int, v byte) func([]byte) []byte {
	return func(b []byte) []byte { b[at] = v; return b }
}

func cut(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }

// malformed are changes to a sound image, and what the error must say.
var malformed = []struct {
	name   string
	change func([]byte) []byte
	want   string
	alien  bool // not a Solo5 image at all
}{
	{"empty", cut(0), "too short", true},
	{"header cut off", cut(63), "too short", true},
	{"a script", func(b []byte) []byte { return append([]byte("#!/bin/sh\n"), b...) }, "not an ELF file", true},
	{"32 bits", put8(4, 1), "class 1", true},
	{"big-endian", put8(5, 2), "byte order 2", true},
	{"ELF version", put8(6, 7), "version 7", true},
	{"object file", put8(16, 1), "ELF type 1", true},
	{"position-independent", put8(16, 3), "ELF type 3", false},
	{"machine", put8(18, 3), "ELF machine 3", false},
	{"no program headers", put8(56, 0), "no program headers", true},
	{"too many program headers", put32(56, 65), "65 program headers", false},
	{"size of program headers", put8(54, 32), "of 32 bytes", false},
	{"program headers beyond the end", put64(32, 1<<40), "beyond the end", false},
	{"program headers wrap around", put64(32, 1<<64-8), "beyond the end", false},
	{"program headers cut off", cut(100), "beyond the end", false},
	{"segment beyond the file", put64(load+32, 1<<30), "beyond the end", false},
	{"segment's offset wraps around", put64(load+8, 1<<64-1), "beyond the end", false},
	{"more file than memory", put64(load+40, 1), "are for 1 bytes of memory", false},
	{"segment wraps around", put64(data+40, 1<<64-1), "beyond the end of all addresses", false},
	{"segment ends with all addresses", put64(data+40, 1<<64-0x110001), "beyond any memory", false},
	{"segments overlap", put64(data+16, 0x100000), "before the one in front", false},
	{"segments not ascending", put64(data+16, 0x1000), "before the one in front", false},
	{"segment too low", put64(load+16, 0xff000), "below 0x100000", false},
	{"segment not on a page", put64(data+16, 0x110010), "does not begin on a page", false},
	{"writable and executable", put32(load+4, 7), "both writable and executable", false},
	{"entry in data", put64(24, 0x110000), "entry point 0x110000", false},
	{"entry nowhere", put64(24, 0), "entry point 0x0", false},
	{"nothing to load", func(b []byte) []byte { return put32(load, 0)(put32(data, 0)(b)) }, "nothing to load", false},

	{"no ABI note", put32(abi, 0), "no ABI note", true},
	{"other owner", put8(abiNote+12, 'G'), "no ABI note", true},
	{"two ABI notes", put64(manifest+8, abiNote), "more than one ABI note", false},
	{"ABI note too long", put32(abiNote+4, 1<<31), "more than its segment", false},
	{"ABI note too short", put32(abiNote+4, 12), "has 12 bytes", false},
	{"target", put32(abiNote+20, 7), "target 7", false},
	{"target zero", put32(abiNote+20, 0), "target 0", false},
	{"ABI version", put32(abiNote+24, 0), "version 0", false},
	{"reserved words", put32(abiNote+32, 1), "reserved", false},

	{"no manifest", put32(manifest, 0), "no manifest", false},
	{"two manifests", func(b []byte) []byte {
		at := order.Uint64(b[manifest+8:])
		size := order.Uint64(b[manifest+32:])
		return put32(load+4, 5)(put64(data+32, size)(put64(data+8, at)(put32(data, 4)(b))))
	}, "more than one manifest", false},
	{"manifest version", put32(table, 2), "version 2", false},
	{"count too small", put32(table+4, 2), "counts 2 devices", false},
	{"count too large", put32(table+4, 4), "counts 4 devices", false},
	{"count wraps around", put32(table+4, 1<<31), "counts", false},
	{"manifest too short", put32(table-20, 4), "has 4 bytes", false},
	{"first row has a name", put8(row, 'x'), "reserved device", false},
	{"first row has a type", put32(row+68, 1), "reserved device", false},
	{"unknown type", put32(row+104+68, 3), "unknown type 3", false},
	{"reserved again", put32(row+104+68, 1<<30), "unknown type", false},
	{"name empty", put8(row+104, 0), "letters and digits", false},
	{"name with a path", put8(row+104, '/'), "letters and digits", false},
	{"name with an option", put8(row+104, '='), "letters and digits", false},
	{"name without end", func(b []byte) []byte {
		copy(b[row+104:], bytes.Repeat([]byte("x"), 68))
		return b
	}, "no end", false},
	{"same name twice", func(b []byte) []byte {
		copy(b[row+2*104:], "service0\x00")
		return b
	}, "two devices \"service0\"", false},
}

func TestInspectMalformed(t *testing.T) {
	// The fixed places above depend on what package guest makes.
	if b := sound(); string(b[abiNote+12:abiNote+17]) != "Solo5" || order.Uint32(b[table+4:]) != 3 {
		t.Fatal("the images of package guest have another layout")
	}
	for _, tt := range malformed {
		_, err := inspect(tt.change(sound()))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
		if errors.Is(err, solo5.ErrNotSolo5) != tt.alien {
			t.Errorf("%s: %v: told to be no Solo5 image: %v, want %v", tt.name, err, !tt.alien, tt.alien)
		}
	}
}

// TestInspectRealLayout has what the Solo5 toolchain leaves in its images: the
// name of a loader that does not exist, and an empty segment at address 0.
func TestInspectRealLayout(t *testing.T) {
	b := put64(data+40, 0)(put64(data+16, 0)(sound()))
	if img, err := inspect(b); err != nil || len(img.Segments) != 1 {
		t.Errorf("with an empty segment: %+v, %v", img, err)
	}
	if img, err := inspect(put32(data, 3)(sound())); err != nil || len(img.Segments) != 1 {
		t.Errorf("with the name of a loader: %+v, %v", img, err)
	}
}

// TestInspectTruncated cuts an image off everywhere.
func TestInspectTruncated(t *testing.T) {
	b := sound()
	for n := range b {
		if _, err := inspect(b[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes pass", n, len(b))
		}
		// A file that is shorter than it was said to be.
		if _, err := solo5.Inspect(bytes.NewReader(b[:n]), int64(len(b))); err == nil && n < table {
			t.Fatalf("the first %d bytes pass for %d", n, len(b))
		}
	}
}

func TestManyDevices(t *testing.T) {
	var many []solo5.Device
	for i := range 63 {
		many = append(many, solo5.Device{Name: strings.Repeat("d", i+1), Type: solo5.Net})
	}
	if got, err := inspect(guest.HVT(many)); err != nil || !slices.Equal(got.Devices, many) {
		t.Errorf("63 devices: %v, %v", got.Devices, err)
	}
	if _, err := inspect(guest.HVT(append(many, solo5.Device{Name: "last", Type: solo5.Net}))); err == nil {
		t.Error("64 devices pass")
	}
}

func TestAppendManifest(t *testing.T) {
	got := solo5.AppendManifest(nil, devices, []solo5.Attachment{{MAC: [6]byte{2, 0, 0, 0, 0, 9}, MTU: 1500}, {CapacityBytes: 1 << 20, SectorBytes: 512}})
	net, block := got[8+104:], got[8+208:]
	if len(got) != 8+3*104 || string(net[:9]) != "service0\x00" || net[77] != 9 || order.Uint16(net[78:]) != 1500 || net[96] != 1 {
		t.Errorf("net: %x", net[:104])
	}
	if order.Uint64(block[72:]) != 1<<20 || order.Uint16(block[80:]) != 512 || block[96] != 1 {
		t.Errorf("block: %x", block)
	}
}

// FuzzInspect looks for images that pass and break a promise of Image.
func FuzzInspect(f *testing.F) {
	f.Add(sound())
	f.Add(guest.HVT(nil))
	f.Add(guest.Virtio(guest.Print("x")))
	for _, tt := range malformed {
		f.Add(tt.change(sound()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := inspect(b)
		if err != nil {
			return
		}
		end := uint64(0)
		for _, s := range img.Segments {
			if s.Address < end || s.FileBytes > s.MemoryBytes || s.Offset+s.FileBytes > uint64(len(b)) || s.Offset+s.FileBytes < s.Offset {
				t.Fatalf("segment %+v", s)
			}
			if end = s.Address + s.MemoryBytes; end <= s.Address || end > img.EndBytes {
				t.Fatalf("segment %+v of an image that ends at %#x", s, img.EndBytes)
			}
		}
		for _, d := range img.Devices {
			if !solo5.ValidDeviceName(d.Name) || (d.Type != solo5.Net && d.Type != solo5.Block) {
				t.Fatalf("device %+v", d)
			}
		}
		if len(solo5.AppendManifest(nil, img.Devices, nil)) > solo5.MaxManifestBytes {
			t.Fatalf("%d devices", len(img.Devices))
		}
	})
}
