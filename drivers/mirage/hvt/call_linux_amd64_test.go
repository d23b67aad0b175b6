package hvt

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

const (
	argAt  = 0x110000
	dataAt = 0x112000
	size   = 2 << 20
)

// newTender returns one with a block device, a net device and a console, but
// without a processor.
func newTender(t testing.TB) (*tender, *os.File) {
	t.Helper()
	disk, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.Truncate(8192); err != nil {
		t.Fatal(err)
	}
	wire, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	peer := os.NewFile(uintptr(wire[1]), "peer")
	t.Cleanup(func() {
		_, _, _, _ = disk.Close(), null.Close(), peer.Close(), unix.Close(wire[0])
	})
	return &tender{
		machine: &machine{memory: memory{bytes: make([]byte, size), fixed: []span{{guestAt, guestAt + 0x1000}}}},
		devices: []device{{kind: solo5.Block, fd: int(disk.Fd()), capacity: 8192, sector: 512}, {kind: solo5.Net, fd: wire[0]}},
		polled:  []unix.PollFd{{Fd: int32(wire[0]), Events: unix.POLLIN}}, handles: []uint{2},
		console: int(null.Fd()),
	}, peer
}

func (t *tender) put(words ...uint64) {
	for i, w := range words {
		order.PutUint64(t.memory.bytes[argAt+8*i:], w)
	}
}

func TestBlockCalls(t *testing.T) {
	v, _ := newTender(t)
	for _, tt := range []struct {
		handle, offset, address, length uint64
		want                            uint32
	}{
		{1, 0, dataAt, 512, resultOK}, {1, 7680, dataAt, 512, resultOK}, {1, 0, dataAt, 8192, resultOK},
		{0, 0, dataAt, 512, resultInvalid}, {2, 0, dataAt, 512, resultInvalid}, {3, 0, dataAt, 512, resultInvalid}, {1<<64 - 1, 0, dataAt, 512, resultInvalid},
		{1, 8192, dataAt, 512, resultInvalid}, {1, 7680, dataAt, 1024, resultInvalid}, {1, 100, dataAt, 512, resultInvalid}, {1, 1<<64 - 512, dataAt, 512, resultInvalid},
		{1, 0, dataAt, 0, resultInvalid}, {1, 0, dataAt, 100, resultInvalid}, {1, 512, dataAt, 1<<64 - 512, resultInvalid},
		{1, 0, size - 256, 512, resultInvalid}, {1, 0, 1<<64 - 256, 512, resultInvalid}, {1, 0, 0x1000, 512, resultInvalid},
	} {
		for _, call := range []uint16{callBlockWrite, callBlockRead} {
			v.put(tt.handle, tt.offset, tt.address, tt.length, 99)
			if _, ended, err := v.call(call, argAt); ended || err != nil {
				t.Fatal(ended, err)
			}
			if got := order.Uint32(v.memory.bytes[argAt+32:]); got != tt.want {
				t.Errorf("call %d, %+v: result %d, want %d", call, tt, got, tt.want)
			}
		}
	}
	// A guest may write its code to a disk, but not read a disk over its code.
	for call, want := range map[uint16]uint32{callBlockWrite: resultOK, callBlockRead: resultInvalid} {
		v.put(1, 0, guestAt, 512, 99)
		if _, _, err := v.call(call, argAt); err != nil || order.Uint32(v.memory.bytes[argAt+32:]) != want {
			t.Errorf("call %d of its code: %v", call, err)
		}
	}
}

func TestNetCalls(t *testing.T) {
	v, peer := newTender(t)
	do := func(call uint16, words ...uint64) (result uint32, length uint64) {
		t.Helper()
		v.put(words...)
		if _, ended, err := v.call(call, argAt); ended || err != nil {
			t.Fatal(ended, err)
		}
		return order.Uint32(v.memory.bytes[argAt+24:]), order.Uint64(v.memory.bytes[argAt+16:])
	}
	copy(v.memory.bytes[dataAt:], "frame")
	if result, _ := do(callNetWrite, 2, dataAt, 5); result != resultOK {
		t.Errorf("write: result %d", result)
	}
	b := make([]byte, 100)
	if n, err := peer.Read(b); err != nil || string(b[:n]) != "frame" {
		t.Errorf("peer got %q, %v", b[:n], err)
	}
	if result, _ := do(callNetRead, 2, dataAt, 2000); result != resultAgain {
		t.Errorf("read without a frame: result %d", result)
	}
	v.put(0)
	if _, _, err := v.call(callPoll, argAt); err != nil || order.Uint64(v.memory.bytes[argAt+8:]) != 0 {
		t.Errorf("poll without a frame: %v, %x", err, v.memory.bytes[argAt:argAt+24])
	}
	if _, err := peer.WriteString("answer"); err != nil {
		t.Fatal(err)
	}
	v.put(1 << 63)
	if _, _, err := v.call(callPoll, argAt); err != nil || order.Uint64(v.memory.bytes[argAt+8:]) != 1<<2 || order.Uint32(v.memory.bytes[argAt+16:]) != 1 {
		t.Errorf("poll: %v, %x", err, v.memory.bytes[argAt:argAt+24])
	}
	if result, n := do(callNetRead, 2, dataAt, 2000); result != resultOK || string(v.memory.bytes[dataAt:dataAt+n]) != "answer" {
		t.Errorf("read: result %d, %d bytes", result, n)
	}
	for _, words := range [][]uint64{{1, dataAt, 5}, {0, dataAt, 5}, {2, size, 5}, {2, dataAt, 0}, {2, dataAt, 1 << 63}} {
		for _, call := range []uint16{callNetRead, callNetWrite} {
			if result, _ := do(call, words...); result != resultInvalid {
				t.Errorf("call %d, %x: result %d", call, words, result)
			}
		}
	}
}

// TestCallsAllocateNothing holds what makes do without garbage collection.
func TestCallsAllocateNothing(t *testing.T) {
	v, _ := newTender(t)
	for call, words := range map[uint16][]uint64{
		callWalltime: {0}, callPuts: {dataAt, 10}, callPoll: {1000}, callBlockRead: {1, 0, dataAt, 512}, callBlockWrite: {1, 0, dataAt, 512},
		callNetRead: {2, dataAt, 2000},
	} {
		if n := testing.AllocsPerRun(100, func() {
			v.put(words...)
			if _, _, err := v.call(call, argAt); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("hypercall %d allocates %v times", call, n)
		}
	}
}

// FuzzCall makes hypercalls with any argument: none may break the tender.
func FuzzCall(f *testing.F) {
	f.Add(uint16(callPuts), uint64(argAt), uint64(dataAt), uint64(10), uint64(0), uint64(0))
	f.Add(uint16(callBlockWrite), uint64(argAt), uint64(1), uint64(512), uint64(dataAt), uint64(512))
	f.Add(uint16(callNetWrite), uint64(argAt), uint64(2), uint64(dataAt), uint64(100), uint64(0))
	f.Add(uint16(callHalt), uint64(argAt), uint64(0), uint64(3), uint64(0), uint64(0))
	v, peer := newTender(f)
	_ = peer.Close() // then no poll waits
	f.Fuzz(func(t *testing.T, call uint16, address, a, b, c, d uint64) {
		clear(v.memory.bytes)
		v.put(a, b, c, d)
		low := append([]byte(nil), v.memory.bytes[:guestAt+0x1000]...)
		if status, ended, _ := v.call(call, address); status < 0 || status > 255 || status != 0 && !ended {
			t.Errorf("status %d, ended %v", status, ended)
		}
		if string(low) != string(v.memory.bytes[:guestAt+0x1000]) {
			t.Error("a hypercall has changed what is not the guest's to change")
		}
	})
}
