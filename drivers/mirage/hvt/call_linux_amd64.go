package hvt

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// Hypercalls: the guest writes the address of their argument to a port.
const (
	callPort = 0x500

	callWalltime   = 1
	callPuts       = 2
	callPoll       = 3
	callBlockWrite = 4
	callBlockRead  = 5
	callNetWrite   = 6
	callNetRead    = 7
	callHalt       = 8
)

// Bytes of their arguments.
const (
	walltimeBytes = 8
	putsBytes     = 16
	pollBytes     = 24
	blockBytes    = 40
	netBytes      = 32
	haltBytes     = 16
)

// Results that a guest gets for I/O.
const (
	resultOK          = 0
	resultAgain       = 1 // nothing there yet
	resultInvalid     = 2
	resultUnspecified = 3
)

// tender is a machine with its devices, ready to run.
type tender struct {
	*machine
	devices []device      // by handle - 1
	polled  []unix.PollFd // one for each net device
	handles []uint        // of those
	console int
}

// StatusPipe is the status of a guest whose console nobody reads, as of a
// process that SIGPIPE has ended.
const StatusPipe = 141

// call does a hypercall. It reports the status if the guest is to end.
func (t *tender) call(number uint16, address uint64) (status int, ended bool, err error) {
	bad := func() (int, bool, error) {
		return 0, false, fmt.Errorf("the guest made hypercall %d with an argument at %#x, outside its memory", number, address)
	}
	switch number {
	case callWalltime:
		arg, ok := t.memory.write(address, walltimeBytes)
		if !ok {
			return bad()
		}
		order.PutUint64(arg, uint64(time.Now().UnixNano()))
	case callPuts:
		arg, ok := t.memory.read(address, putsBytes)
		if !ok {
			return bad()
		}
		return t.puts(arg)
	case callPoll:
		arg, ok := t.memory.write(address, pollBytes)
		if !ok {
			return bad()
		}
		return 0, false, t.poll(arg)
	case callBlockRead, callBlockWrite:
		arg, ok := t.memory.write(address, blockBytes)
		if !ok {
			return bad()
		}
		order.PutUint32(arg[32:], t.block(arg, number == callBlockWrite))
	case callNetRead, callNetWrite:
		arg, ok := t.memory.write(address, netBytes)
		if !ok {
			return bad()
		}
		order.PutUint32(arg[24:], t.net(arg, number == callNetWrite))
	case callHalt:
		arg, ok := t.memory.read(address, haltBytes)
		if !ok {
			return bad()
		}
		return int(order.Uint32(arg[8:]) & 0xff), true, nil
	default:
		return 0, false, fmt.Errorf("the guest made hypercall %d, which does not exist", number)
	}
	return 0, false, nil
}

func (t *tender) puts(arg []byte) (status int, ended bool, err error) {
	address, length := order.Uint64(arg), order.Uint64(arg[8:])
	text, ok := t.memory.read(address, length)
	if !ok {
		return 0, false, fmt.Errorf("the guest printed %d bytes at %#x, outside its memory", length, address)
	}
	for len(text) > 0 {
		n, err := unix.Write(t.console, text)
		switch err {
		case nil:
			text = text[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			full := [1]unix.PollFd{{Fd: int32(t.console), Events: unix.POLLOUT}}
			_, _ = unix.Ppoll(full[:], nil, nil)
		case unix.EPIPE:
			return StatusPipe, true, nil
		case unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.EIO:
			return 0, false, nil // a guest outlives a full disk under its console
		default:
			return 0, false, fmt.Errorf("write to console: %w", err)
		}
	}
	return 0, false, nil
}

// poll waits for frames, at most as long as the guest says.
func (t *tender) poll(arg []byte) error {
	wait := unix.NsecToTimespec(int64(min(order.Uint64(arg), math.MaxInt64)))
	n, err := unix.Ppoll(t.polled, &wait, nil)
	for err == unix.EINTR {
		n, err = unix.Ppoll(t.polled, &wait, nil) // the kernel has left the rest of the time in wait
	}
	if err != nil {
		return fmt.Errorf("wait for devices: %w", err)
	}
	ready := uint64(0)
	for i, p := range t.polled {
		if p.Revents != 0 {
			ready |= 1 << t.handles[i]
		}
	}
	order.PutUint64(arg[8:], ready)
	order.PutUint32(arg[16:], uint32(n))
	return nil
}

// device returns the one of a handle if it is of a kind.
func (t *tender) device(handle uint64, kind solo5.DeviceType) (device, bool) {
	if handle == 0 || handle > uint64(len(t.devices)) || t.devices[handle-1].kind != kind {
		return device{}, false
	}
	return t.devices[handle-1], true
}

func (t *tender) block(arg []byte, write bool) (result uint32) {
	d, ok := t.device(order.Uint64(arg), solo5.Block)
	offset, address, length := order.Uint64(arg[8:]), order.Uint64(arg[16:]), order.Uint64(arg[24:])
	if !ok || length == 0 || offset%d.sector != 0 || length%d.sector != 0 || offset > d.capacity || length > d.capacity-offset {
		return resultInvalid
	}
	access, move := t.memory.write, unix.Pread
	if write {
		access, move = t.memory.read, unix.Pwrite
	}
	data, ok := access(address, length)
	if !ok {
		return resultInvalid
	}
	for len(data) > 0 {
		n, err := move(d.fd, data, int64(offset))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return resultUnspecified
		}
		data, offset = data[n:], offset+uint64(n)
	}
	return resultOK
}

// net moves one frame. Frames that the interface does not take are lost, as on a wire.
func (t *tender) net(arg []byte, write bool) (result uint32) {
	d, ok := t.device(order.Uint64(arg), solo5.Net)
	address, length := order.Uint64(arg[8:]), order.Uint64(arg[16:])
	if !ok || length == 0 {
		return resultInvalid
	}
	if write {
		frame, ok := t.memory.read(address, length)
		if !ok {
			return resultInvalid
		}
		if _, err := unix.Write(d.fd, frame); err == unix.EINVAL || err == unix.EMSGSIZE {
			return resultInvalid
		}
		return resultOK
	}
	room, ok := t.memory.write(address, length)
	if !ok {
		return resultInvalid
	}
	n, err := unix.Read(d.fd, room)
	if err != nil || n <= 0 {
		return resultAgain
	}
	order.PutUint64(arg[16:], uint64(n))
	return resultOK
}
