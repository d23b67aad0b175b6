package solo5

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// DeviceType is what a device of the manifest is. Numbers are those of the manifest.
type DeviceType uint32

// The types of devices.
const (
	Block DeviceType = 1
	Net   DeviceType = 2
)

// String returns block or net.
func (t DeviceType) String() string {
	switch t {
	case Block:
		return "block"
	case Net:
		return "net"
	}
	return "device type " + strconv.FormatUint(uint64(t), 10)
}

// MarshalText makes a DeviceType its name in JSON.
func (t DeviceType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Device is what an image wants to be given, by a name of its own.
type Device struct {
	Name string     `json:"name"`
	Type DeviceType `json:"type"`
}

// Attachment is what a guest is told about a device that it has been given.
type Attachment struct {
	CapacityBytes uint64 // block
	SectorBytes   uint16 // block
	MAC           [6]byte
	MTU           uint16
}

// The manifest as a table in memory: version, count, rows. In its note, 4 bytes
// of padding come first.
const (
	manifestVersion     = 1
	manifestPadBytes    = 4
	manifestHeaderBytes = 8
	rowBytes            = 104
	maxRows             = 64

	rowNameBytes  = 68
	rowType       = 68
	rowUnion      = 72
	rowAttached   = 96
	reservedFirst = 1 << 30
)

// MaxManifestBytes is the length of the longest manifest that AppendManifest makes.
const MaxManifestBytes = manifestHeaderBytes + maxRows*rowBytes

func (img *Image) readManifest(f io.ReaderAt, n note) error {
	const least = manifestPadBytes + manifestHeaderBytes + rowBytes
	if n.length < least || n.length > manifestPadBytes+MaxManifestBytes {
		return fmt.Errorf("manifest has %d bytes, want %d to %d", n.length, least, manifestPadBytes+MaxManifestBytes)
	}
	b := make([]byte, n.length)
	if err := readFull(f, b, n.offset); err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	b = b[manifestPadBytes:]
	if v := order.Uint32(b); v != manifestVersion {
		return fmt.Errorf("manifest is of version %d, want %d", v, manifestVersion)
	}
	count, rows := order.Uint32(b[4:]), b[manifestHeaderBytes:]
	if count > maxRows || int(count)*rowBytes != len(rows) {
		return fmt.Errorf("manifest counts %d devices, but has %d bytes for them", count, len(rows))
	}
	if rows[0] != 0 || order.Uint32(rows[rowType:]) != reservedFirst {
		return fmt.Errorf("manifest does not begin with the reserved device")
	}
	seen := map[string]bool{}
	for i := 1; i < int(count); i++ {
		d, err := parseRow(rows[i*rowBytes : (i+1)*rowBytes])
		if err != nil {
			return fmt.Errorf("manifest: device %d: %w", i, err)
		}
		if seen[d.Name] {
			return fmt.Errorf("manifest has two devices %q", d.Name)
		}
		seen[d.Name] = true
		img.Devices = append(img.Devices, d)
	}
	return nil
}

func parseRow(row []byte) (Device, error) {
	name, _, ended := bytes.Cut(row[:rowNameBytes], []byte{0})
	if !ended {
		return Device{}, fmt.Errorf("its name has no end")
	}
	d := Device{Name: string(name), Type: DeviceType(order.Uint32(row[rowType:]))}
	if !ValidDeviceName(d.Name) {
		return Device{}, fmt.Errorf("name %q: want 1 to 67 letters and digits", d.Name)
	}
	if d.Type != Block && d.Type != Net {
		return Device{}, fmt.Errorf("%q is of unknown type %d", d.Name, uint32(d.Type))
	}
	return d, nil
}

// ValidDeviceName reports whether Solo5 allows the name: 1 to 67 of A-Z, a-z, 0-9.
func ValidDeviceName(name string) bool {
	if name == "" || len(name) >= rowNameBytes {
		return false
	}
	for i := range len(name) {
		c := name[i] | 0x20
		if (c < 'a' || c > 'z') && (name[i] < '0' || name[i] > '9') {
			return false
		}
	}
	return true
}

// AppendManifest appends the table of devices to b as guests read it. Without
// attachments it is as in an image; otherwise attached[i] is for devices[i].
func AppendManifest(b []byte, devices []Device, attached []Attachment) []byte {
	b = order.AppendUint32(b, manifestVersion)
	b = order.AppendUint32(b, uint32(1+len(devices)))
	var first [rowBytes]byte
	order.PutUint32(first[rowType:], reservedFirst)
	b = append(b, first[:]...)
	for i, d := range devices {
		var row [rowBytes]byte
		copy(row[:rowNameBytes-1], d.Name)
		order.PutUint32(row[rowType:], uint32(d.Type))
		if attached != nil {
			attach(row[:], d.Type, attached[i])
		}
		b = append(b, row[:]...)
	}
	return b
}

func attach(row []byte, t DeviceType, a Attachment) {
	if t == Block {
		order.PutUint64(row[rowUnion:], a.CapacityBytes)
		order.PutUint16(row[rowUnion+8:], a.SectorBytes)
	} else {
		copy(row[rowUnion:], a.MAC[:])
		order.PutUint16(row[rowUnion+6:], a.MTU)
	}
	row[rowAttached] = 1
}
