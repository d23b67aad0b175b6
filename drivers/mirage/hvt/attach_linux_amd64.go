package hvt

import (
	"crypto/rand"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// device is an open device of the guest.
type device struct {
	kind     solo5.DeviceType
	fd       int
	capacity uint64 // block
	sector   uint64 // block
}

// open opens what stands behind a device and tells what the guest learns of it.
func (d Device) open() (device, solo5.Attachment, error) {
	if d.Tap != "" {
		return d.openNet()
	}
	return d.openBlock()
}

func (d Device) openBlock() (device, solo5.Attachment, error) {
	fail := func(err error) (device, solo5.Attachment, error) {
		return device{}, solo5.Attachment{}, fmt.Errorf("block device %s: %w", d.Name, err)
	}
	fd, err := unix.Open(d.Path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fail(&os.PathError{Op: "open", Path: d.Path, Err: err})
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return fail(fmt.Errorf("look at %s: %w", d.Path, err))
	}
	if kind := stat.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFBLK {
		return fail(fmt.Errorf("%s is neither a file nor a block device", d.Path))
	}
	size, err := unix.Seek(fd, 0, unix.SEEK_END)
	if err != nil {
		return fail(fmt.Errorf("size of %s: %w", d.Path, err))
	}
	sector := d.SectorBytes
	if sector == 0 {
		sector = defaultSectorBytes
	}
	if size < int64(sector) || size%int64(sector) != 0 {
		return fail(fmt.Errorf("%s has %d bytes, which is not a whole number of sectors of %d bytes", d.Path, size, sector))
	}
	return device{kind: solo5.Block, fd: fd, capacity: uint64(size), sector: uint64(sector)},
		solo5.Attachment{CapacityBytes: uint64(size), SectorBytes: sector}, nil
}

func (d Device) openNet() (device, solo5.Attachment, error) {
	fail := func(err error) (device, solo5.Attachment, error) {
		return device{}, solo5.Attachment{}, fmt.Errorf("net device %s: %w", d.Name, err)
	}
	mtu, err := tapMTU(d.Tap)
	if err != nil {
		return fail(err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fail(&os.PathError{Op: "open", Path: "/dev/net/tun", Err: err})
	}
	request, err := unix.NewIfreq(d.Tap)
	if err != nil {
		return fail(fmt.Errorf("name %q: %w", d.Tap, err))
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fail(fmt.Errorf("attach to tap device %s (it must be of mode tap, not in use, and belong to this user): %w", d.Tap, err))
	}
	mac := d.MAC
	if mac == [6]byte{} {
		_, _ = rand.Read(mac[:]) // cannot fail
		mac[0] = mac[0]&^1 | 2   // of one interface, locally administered
	}
	return device{kind: solo5.Net, fd: fd}, solo5.Attachment{MAC: mac, MTU: mtu}, nil
}

// tapMTU also makes sure that the interface is there: the call that attaches to
// a tap device would make one.
func tapMTU(name string) (uint16, error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("look at interface %s: %w", name, err)
	}
	defer func() { _ = unix.Close(s) }()
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("name %q: %w", name, err)
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, request); err != nil {
		return 0, fmt.Errorf("interface %s: %w; make it beforehand: ip tuntap add %s mode tap", name, err, name)
	}
	if request.Uint16()&unix.IFF_UP == 0 {
		return 0, fmt.Errorf("interface %s is down: ip link set %s up", name, name)
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFMTU, request); err != nil {
		return 0, fmt.Errorf("MTU of interface %s: %w", name, err)
	}
	return uint16(min(request.Uint32(), 1<<16-1)), nil
}
