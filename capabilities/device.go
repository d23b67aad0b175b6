package capabilities

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// maxDevices bounds a report; the largest servers have some hundred.
const maxDevices = 512

// settle puts together what several probes found of one device, and sorts. A
// USB device that something more special is known of is not listed as USB, too:
// handed out twice it would be no one's alone.
func settle(all []Device) []Device {
	special := map[string]bool{}
	for _, d := range all {
		if d.Kind != USB {
			special[d.address] = true
		}
	}
	byID := map[string]int{}
	var out []Device
	for _, d := range all {
		if d.Kind == USB && special[d.address] {
			continue
		}
		if i, known := byID[d.ID]; known {
			out[i] = join(out[i], d)
			continue
		}
		byID[d.ID] = len(out)
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Device) int {
		return cmp.Or(cmp.Compare(rank(a.Kind), rank(b.Kind)), naturally(a.ID, b.ID))
	})
	return out
}

// join adds to a what b knows and a does not.
func join(a, b Device) Device {
	a.Vendor, a.Model = cmp.Or(a.Vendor, b.Vendor), cmp.Or(a.Model, b.Model)
	a.Driver, a.DriverVersion = cmp.Or(a.Driver, b.Driver), cmp.Or(a.DriverVersion, b.DriverVersion)
	for _, p := range b.Paths {
		if !slices.Contains(a.Paths, p) {
			a.Paths = append(a.Paths, p)
		}
	}
	return a
}

// rank is the order of kinds in a report: what jobs ask for first.
func rank(k Kind) int {
	return slices.Index([]Kind{GPU, VPU, NPU, FPGA, Camera, Codec, Display, Sensor, Serial, I2C, SPI, GPIO, TPM, USB}, k)
}

// naturally orders texts so that video2 is before video10.
func naturally(a, b string) int {
	digits := func(s string) string {
		return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
	}
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x != "" && y != "" {
			n, m := strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Or(cmp.Compare(len(n), len(m)), cmp.Compare(n, m), cmp.Compare(x, y)); c != 0 {
				return c
			}
			a, b = a[len(x):], b[len(y):]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// device returns a device of this kind that is behind a folder of sysfs, which
// may be the device's own or one of its interface to programs (class/…).
func (h Host) device(kind Kind, folder string) Device {
	at := h.place(folder)
	d := Device{ID: string(kind) + "-" + at.address, Kind: kind, address: at.address}
	d.Driver = h.target(at.folder + "/driver")
	switch at.bus {
	case "usb":
		d = h.describeUSB(d, at.folder)
		if at.function != "" {
			d.ID += ":" + at.function
			d.Driver = h.target(at.folder + "/" + at.port + ":" + at.function + "/driver")
		}
	case "pci":
		d = h.describePCI(d, at.folder)
	}
	return d
}

// place is where a device is.
type place struct {
	bus      string // usb, pci, or platform for all else
	folder   string // of the device on this bus
	address  string // "pci-0000:01:00.0", "usb-1-1.4", "platform-fe804000.i2c"; "virtual-…" without hardware
	port     string // on USB
	function string // on USB: interface of the device, if the folder was in one
}

// place finds the innermost device on a bus whose addresses stay the same that
// a folder of sysfs belongs to.
func (h Host) place(folder string) place {
	folder = h.real(folder)
	function := ""
	for dir := folder; strings.HasPrefix(dir, "sys/"); dir = path.Dir(dir) {
		base := path.Base(dir)
		switch subsystem := h.target(dir + "/subsystem"); {
		case subsystem == "usb" || h.exists(dir+"/idVendor") || isUSBInterface(base):
			if _, f, found := strings.Cut(base, ":"); found {
				function = cmp.Or(function, f)
				continue
			}
			return place{"usb", dir, "usb-" + base, base, function}
		case subsystem == "pci" || isPCIAddress(base):
			return place{bus: "pci", folder: dir, address: "pci-" + base}
		case subsystem == "platform" || subsystem == "amba" || subsystem == "host1x" || subsystem == "pnp",
			path.Dir(dir) == "sys/devices/platform", path.Dir(dir) == "sys/devices":
			return place{bus: "platform", folder: dir, address: "platform-" + base}
		case path.Dir(dir) == "sys/bus/i2c/devices", path.Dir(dir) == "sys/bus/platform/devices":
			return place{bus: "platform", folder: dir, address: "platform-" + base}
		}
	}
	return place{bus: "platform", folder: folder, address: "platform-" + path.Base(folder)}
}

// isUSBInterface tells names like 1-1.4:1.0.
func isUSBInterface(name string) bool {
	port, function, found := strings.Cut(name, ":")
	return found && strings.Count(function, ".") == 1 && strings.Contains(port, "-") &&
		strings.Trim(port, "0123456789-.") == "" && strings.Trim(function, "0123456789.") == ""
}

// isPCIAddress tells names like 0000:01:00.0.
func isPCIAddress(name string) bool {
	return len(name) >= 12 && strings.Count(name, ":") == 2 && name[len(name)-2] == '.' && strings.Trim(name, "0123456789abcdef:.") == ""
}

// nodes returns the device nodes that the classes of a device have made, in
// the folder of the device in sysfs: drm/card0, accel/accel0, hailo_chardev/hailo0.
func (h Host) nodes(folder string) []string {
	var out []string
	for _, class := range h.names(folder) {
		if !isClass(class) {
			continue
		}
		for _, name := range h.names(folder + "/" + class) {
			if node := h.node(folder + "/" + class + "/" + name); node != "" {
				out = append(out, node)
			}
		}
	}
	slices.SortFunc(out, naturally)
	return out
}

// isClass tells which folders of a PCI or platform device are worth a look: a
// device has dozens of others.
func isClass(name string) bool {
	return slices.Contains([]string{
		"drm", "accel", "apex", "hailo_chardev", "misc", "xdma", "xrt", "fpga_region", "fpga_manager", "dfl_fme", "dfl_port",
		"nvhost", "mwave", "qaic", "habanalabs", "kfd", "uio", "nvidia-gpu",
	}, name)
}

// node returns the path in /dev of what a folder of a class stands for; empty
// if there is no such node.
func (h Host) node(folder string) string {
	for line := range strings.Lines(h.block(folder + "/uevent")) {
		if name, found := strings.CutPrefix(line, "DEVNAME="); found {
			return h.present("dev/" + strings.TrimPrefix(clean(name), "/dev/"))
		}
	}
	return h.present("dev/" + path.Base(folder))
}

// block returns a short file of several lines; empty if there is none.
func (h Host) block(name string) string {
	text, err := h.readSome(name, 4096)
	if err != nil {
		return ""
	}
	return text
}

// present returns the absolute path of what is there; empty if it is not.
func (h Host) present(name string) string {
	if name = path.Clean(name); strings.HasPrefix(name, "dev/") && h.exists(name) {
		return "/" + name
	}
	return ""
}
