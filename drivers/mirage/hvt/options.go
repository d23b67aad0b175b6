package hvt

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// ABIVersion is the version of the Solo5 hvt interface that Run offers.
const ABIVersion = 2

// Limits of what can be asked for.
const (
	DefaultMemoryMiB = 512
	maxMemoryMiB     = 4096
	maxArgumentBytes = 8191
	maxTapBytes      = 15

	defaultSectorBytes = 512
	maxSectorBytes     = 4096
)

// Options say what to run. ParseOptions makes them from a command line.
type Options struct {
	MemoryMiB uint64 // even, 2 to 4096
	Devices   []Device
	// UID and GID are whom to become before the guest starts; -1 stays as is.
	UID, GID  int
	Kernel    string // path of the image
	Arguments string // for the guest
}

// Device attaches something of the host to a device of the manifest: either a
// tap device, which exists and is up, or a file or block device.
type Device struct {
	Name        string
	Tap         string  // of a net device
	MAC         [6]byte // of a net device; all zeroes: a random one
	Path        string  // of a block device
	SectorBytes uint16  // of a block device; 0: 512
}

// ParseOptions reads a command line like that of solo5-hvt, without the
// program's name.
func ParseOptions(args []string) (Options, error) {
	o := Options{MemoryMiB: DefaultMemoryMiB, UID: -1, GID: -1}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		if err := o.set(arg); err != nil {
			return Options{}, fmt.Errorf("option %s: %w", arg, err)
		}
	}
	if len(args) == 0 {
		return Options{}, errors.New("no kernel is given; see --help")
	}
	o.Kernel, o.Arguments = args[0], strings.Join(args[1:], " ")
	if len(o.Arguments) > maxArgumentBytes {
		return Options{}, fmt.Errorf("the guest's arguments have %d bytes, at most %d fit", len(o.Arguments), maxArgumentBytes)
	}
	for _, d := range o.Devices {
		if d.Tap == "" && d.Path == "" {
			return Options{}, fmt.Errorf("device %s has settings, but is not attached: add --net:%s=TAP or --block:%s=FILE", d.Name, d.Name, d.Name)
		}
	}
	return o, nil
}

// set takes in one option of the form --KIND=VALUE or --KIND:NAME=VALUE.
func (o *Options) set(arg string) error {
	key, value, ok := strings.Cut(arg, "=")
	kind, name, named := strings.Cut(key, ":")
	switch {
	case kind == "--mem" && !named:
		return o.setMemory(value)
	case kind == "--uid" && !named:
		return setID(&o.UID, value)
	case kind == "--gid" && !named:
		return setID(&o.GID, value)
	case kind != "--net" && kind != "--net-mac" && kind != "--block" && kind != "--block-sector-size":
		return errors.New("it is not known; see --help")
	case !ok || value == "":
		return errors.New("it has no value")
	case !solo5.ValidDeviceName(name):
		return fmt.Errorf("want %s:NAME=…, the name of a device: 1 to 67 letters and digits", kind)
	}
	return o.device(name).set(kind, value)
}

func (o *Options) setMemory(value string) error {
	n, err := strconv.ParseUint(value, 10, 16)
	n &^= 1 // whole large pages
	if err != nil || n < 2 || n > maxMemoryMiB {
		return fmt.Errorf("want 2 to %d, in MiB", maxMemoryMiB)
	}
	o.MemoryMiB = n
	return nil
}

func setID(id *int, value string) error {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return errors.New("want a number")
	}
	*id = int(n)
	return nil
}

// device returns the one of a name, new or already mentioned.
func (o *Options) device(name string) *Device {
	for i := range o.Devices {
		if o.Devices[i].Name == name {
			return &o.Devices[i]
		}
	}
	o.Devices = append(o.Devices, Device{Name: name})
	return &o.Devices[len(o.Devices)-1]
}

func (d *Device) set(kind, value string) error {
	switch kind {
	case "--net", "--block":
		if d.Tap != "" || d.Path != "" {
			return errors.New("the device is attached already")
		}
		if kind == "--block" {
			d.Path = value
			return nil
		}
		if len(value) > maxTapBytes || strings.ContainsAny(value, "/@ ") {
			return fmt.Errorf("%q is not the name of a tap device", value)
		}
		d.Tap = value
	case "--net-mac":
		b, err := hex.DecodeString(strings.ReplaceAll(value, ":", ""))
		if err != nil || len(value) != 17 || len(b) != len(d.MAC) || b[0]&1 != 0 {
			return errors.New("want the address of one interface, such as 02:00:00:00:00:01")
		}
		copy(d.MAC[:], b)
	case "--block-sector-size":
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil || n < defaultSectorBytes || n > maxSectorBytes || n&(n-1) != 0 {
			return fmt.Errorf("want a power of two from %d to %d", defaultSectorBytes, maxSectorBytes)
		}
		d.SectorBytes = uint16(n)
	}
	return nil
}
