package mirage

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"github.com/edgeio/edgeio/drivers/internal/process"
	"golang.org/x/sys/unix"
)

// usable tells whether net devices can be given, and ports be mapped.
func (n *network) usable(ports bool) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: edgeagent is not root", errNoNetwork)
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return fmt.Errorf("%w: %w; load the kernel module tun", errNoNetwork, err)
	}
	if ports && iptables() == "" {
		return fmt.Errorf("%w with ports: iptables is not installed (Debian: iptables)", errNoNetwork)
	}
	return nil
}

// makeTap makes a tap device that stays, is up and on the bridge. What the
// kernel would leave to hardware (checksums, segments) it does by itself then,
// which is what guests count on.
func makeTap(name, bridge string) error {
	fd, err := openTap(name)
	if errors.Is(err, unix.EBUSY) { // a running guest has it
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1), unix.IoctlSetInt(fd, unix.TUNSETOWNER, nobody)); err != nil {
		return err
	}
	if err := joinBridge(name, bridge); err != nil {
		return err
	}
	return setUp(name)
}

// removeTap takes a tap device away, if it is there.
func removeTap(name string) error {
	if !indexed(name) {
		return nil
	}
	fd, err := openTap(name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0)
}

// indexed tells whether an interface exists.
func indexed(name string) bool {
	index, err := ifreqCall(unix.SIOCGIFINDEX, name, nil)
	return err == nil && index.Uint32() != 0
}

func openTap(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	r, err := unix.NewIfreq(name)
	if err == nil {
		r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// makeBridge makes a bridge with an address, and sets it up.
func makeBridge(name string, prefix netip.Prefix, address netip.Addr) error {
	return withSocket(func(fd int) error {
		raw, err := unix.BytePtrFromString(name)
		if err != nil {
			return err
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCBRADDBR, uintptr(unsafe.Pointer(raw))); errno != 0 && errno != unix.EEXIST {
			return errno
		}
		if err := setMAC(fd, name); err != nil {
			return fmt.Errorf("give it an Ethernet address: %w", err)
		}
		mask := netip.AddrFrom4(maskOf(prefix.Bits()))
		for _, c := range []struct {
			request uint
			value   netip.Addr
		}{{unix.SIOCSIFADDR, address}, {unix.SIOCSIFNETMASK, mask}} {
			r, err := unix.NewIfreq(name)
			if err == nil {
				v := c.value.As4()
				if err = r.SetInet4Addr(v[:]); err == nil {
					err = unix.IoctlIfreq(fd, c.request, r)
				}
			}
			if err != nil {
				return fmt.Errorf("give it the address %s: %w", address, err)
			}
		}
		return setUp(name)
	})
}

// setMAC gives the bridge an Ethernet address of its own. It would have that of
// one of its taps, and another one when that goes; guests remember it.
func setMAC(fd int, name string) error {
	const (
		ifreqBytes = 40 // struct ifreq of linux/if.h
		familyAt   = 16
		addressAt  = 18
	)
	var raw [ifreqBytes]byte
	copy(raw[:unix.IFNAMSIZ-1], name)
	raw[familyAt] = unix.ARPHRD_ETHER
	sum := process.Hash(name)
	copy(raw[addressAt:], []byte{0x02, 0xe0, byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFHWADDR, uintptr(unsafe.Pointer(&raw))); errno != 0 {
		return errno
	}
	return nil
}

func maskOf(bits int) (mask [4]byte) {
	for i := range bits {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return mask
}

// removeBridge removes the bridge, if it is there.
func removeBridge(name string) error {
	if !indexed(name) {
		return nil
	}
	return withSocket(func(fd int) error {
		raw, err := unix.BytePtrFromString(name)
		if err != nil {
			return err
		}
		if err := setFlags(fd, name, 0, unix.IFF_UP); err != nil {
			return err
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCBRDELBR, uintptr(unsafe.Pointer(raw))); errno != 0 {
			return errno
		}
		return nil
	})
}

func joinBridge(name, bridge string) error {
	index, err := ifreqCall(unix.SIOCGIFINDEX, name, nil)
	if err != nil {
		return err
	}
	_, err = ifreqCall(unix.SIOCBRADDIF, bridge, func(r *unix.Ifreq) { r.SetUint32(index.Uint32()) })
	if errors.Is(err, unix.EBUSY) { // it is on it already
		return nil
	}
	return err
}

func setUp(name string) error {
	return withSocket(func(fd int) error { return setFlags(fd, name, unix.IFF_UP, 0) })
}

func setFlags(fd int, name string, on, off uint16) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r); err != nil {
		return err
	}
	r.SetUint16(r.Uint16()&^off | on)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

// ifreqCall makes one request about an interface.
func ifreqCall(request uint, name string, fill func(*unix.Ifreq)) (*unix.Ifreq, error) {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	if fill != nil {
		fill(r)
	}
	return r, withSocket(func(fd int) error { return unix.IoctlIfreq(fd, request, r) })
}

// withSocket lends a socket to ask the kernel's network by.
func withSocket(f func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return f(fd)
}
