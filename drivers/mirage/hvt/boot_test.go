package hvt

import (
	"bytes"
	"strings"
	"testing"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
	"github.com/edgeio/edgeio/drivers/mirage/solo5/guest"
)

// translate walks the page tables as a processor does.
func translate(mem []byte, address uint64) (physical uint64, writable, ok bool) {
	table, writable := uint64(pml4At), true
	for shift := 39; ; shift -= 9 {
		entry := order.Uint64(mem[table+8*(address>>shift&511):])
		if entry&pagePresent == 0 {
			return 0, false, false
		}
		writable = writable && entry&pageWritable != 0
		table = entry &^ 0xfff &^ (1 << 63)
		if shift == 12 || shift == 21 && entry&pageLarge != 0 {
			return table + address&(1<<shift-1), writable, true
		}
	}
}

func TestTables(t *testing.T) {
	mem := make([]byte, guestAt)
	setUpTables(mem, 16<<20)
	for _, tt := range []struct {
		address  uint64
		writable bool
		ok       bool
	}{
		{0, false, false}, {gdtAt, false, false}, {pml4At, false, false}, {ptAt, false, false}, {0xffff, false, false},
		{0x10000, false, true}, {0xfffff, false, true},
		{0x100000, true, true}, {0x1fffff, true, true}, {0x200000, true, true}, {16<<20 - 1, true, true},
		{16 << 20, false, false}, {1 << 32, false, false}, {1 << 39, false, false}, {1<<47 - 1, false, false},
	} {
		physical, writable, ok := translate(mem, tt.address)
		if ok != tt.ok || ok && (physical != tt.address || writable != tt.writable) {
			t.Errorf("%#x: %#x, writable %v, mapped %v", tt.address, physical, writable, ok)
		}
	}
	// All of the largest memory fits into the tables.
	large := make([]byte, guestAt)
	setUpTables(large, maxMemoryMiB<<20)
	if physical, writable, ok := translate(large, 1<<32-1); !ok || !writable || physical != 1<<32-1 {
		t.Errorf("end of 4 GiB: %#x, %v, %v", physical, writable, ok)
	}
}

func TestHandOver(t *testing.T) {
	mem := make([]byte, 2<<20)
	var devices []solo5.Device
	for range 63 {
		devices = append(devices, solo5.Device{Name: "x", Type: solo5.Net})
	}
	arguments := strings.Repeat("a", maxArgumentBytes)
	handOver(mem, solo5.Image{EndBytes: 0x123000, Devices: devices}, make([]solo5.Attachment, len(devices)), arguments, 2_000_000_000)
	word := func(i int) uint64 { return order.Uint64(mem[bootInfoAt+8*i:]) }
	if word(0) != 2<<20 || word(1) != 0x123000 || word(2) != 2_000_000_000 || word(5) != 0 || word(6) != 0 {
		t.Errorf("boot info %x", mem[bootInfoAt:bootInfoAt+56])
	}
	if got := mem[word(3):]; string(got[:len(arguments)]) != arguments || got[len(arguments)] != 0 {
		t.Error("the longest arguments do not fit behind the longest manifest")
	}
	if got := mem[word(4):]; order.Uint32(got[4:]) != 64 || word(4)%8 != 0 {
		t.Errorf("manifest %x", got[:8])
	}
}

func TestMemory(t *testing.T) {
	m := memory{bytes: make([]byte, 2<<20), fixed: []span{{0x100000, 0x103000}}}
	const most = 1<<64 - 1
	for _, tt := range []struct {
		address, length uint64
		read, write     bool
	}{
		{0, 8, false, false}, {gdtAt, 8, false, false}, {bootInfoAt - 1, 2, false, false},
		{bootInfoAt, 8, true, false}, {0xffff8, 16, true, false}, {0x100000, 8, true, false}, {0x102fff, 1, true, false},
		{0x102fff, 2, true, false}, {0x103000, 8, true, true}, {2<<20 - 8, 8, true, true}, {2<<20 - 8, 9, false, false},
		{2 << 20, 0, true, true}, {2 << 20, 1, false, false}, {2<<20 + 1, 0, false, false}, {1 << 20, most, false, false},
		{most, 1, false, false}, {most, most, false, false}, {0x180000, most - 0x180000 + 1, false, false}, {0x180000, most - 0x17ffff + 0x100000, false, false},
	} {
		if b, ok := m.read(tt.address, tt.length); ok != tt.read || ok && uint64(len(b)) != tt.length {
			t.Errorf("read %d at %#x: %v", tt.length, tt.address, ok)
		}
		if b, ok := m.write(tt.address, tt.length); ok != tt.write || ok && uint64(cap(b)) != tt.length {
			t.Errorf("write %d at %#x: %v", tt.length, tt.address, ok)
		}
	}
}

func TestLoad(t *testing.T) {
	image := guest.HVT(nil, guest.Print("x"))
	img, err := solo5.Inspect(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	m := memory{bytes: make([]byte, 2<<20)}
	if err := m.load(bytes.NewReader(image), img); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.bytes[guestAt:guestAt+len(image)], image) || len(m.fixed) != 1 || m.fixed[0] != (span{0x100000, 0x101000}) {
		t.Errorf("loaded with %+v read-only", m.fixed)
	}
	if err := (&memory{bytes: make([]byte, 0x114000)}).load(bytes.NewReader(image), img); err == nil || !strings.Contains(err.Error(), "--mem") {
		t.Errorf("without room for a stack: %v", err)
	}
	// The file has become shorter after it was looked at.
	if err := m.load(bytes.NewReader(image[:100]), img); err == nil {
		t.Error("a file that ends early is loaded")
	}
}
