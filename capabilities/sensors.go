package capabilities

import (
	"context"
	"path"
	"strings"
)

// sensors finds what measures: chips of the industrial I/O subsystem, and the
// monitoring of the hardware itself.
type sensors struct{}

func (sensors) Name() string { return "sensors" }

func (sensors) Probe(_ context.Context, h Host) (func(*Report), error) {
	var all []Device
	for _, folder := range h.matches("sys/bus/iio/devices", "iio:device[0-9]*") {
		all = append(all, h.sensor(folder, "iio"))
	}
	for _, folder := range h.matches("sys/class/hwmon", "hwmon[0-9]*") {
		all = append(all, h.sensor(folder, "hwmon"))
	}
	return func(r *Report) { r.Devices = append(r.Devices, all...) }, nil
}

func (h Host) sensor(folder, subsystem string) Device {
	d := h.device(Sensor, folder)
	name := h.text(folder + "/name")
	if parent := path.Base(path.Dir(h.real(folder))); isI2CAddress(parent) {
		d.ID += "-" + parent
	}
	d.ID += "-" + subsystem + "-" + slug(name) // of one chip there may be several
	if name != "" {
		d.Model = name
	}
	d.Driver = ""
	d.Paths = []string{"/" + folder}
	if node := h.present("dev/" + path.Base(folder)); node != "" {
		d.Paths = []string{node, "/" + folder}
	}
	return d
}

// isI2CAddress tells names like 1-0076: bus and address.
func isI2CAddress(name string) bool {
	bus, address, found := strings.Cut(name, "-")
	return found && bus != "" && len(address) == 4 && strings.Trim(bus, "0123456789") == "" && strings.Trim(address, "0123456789abcdef") == ""
}

// tpms finds trusted platform modules.
type tpms struct{}

func (tpms) Name() string { return "tpm" }

func (tpms) Probe(_ context.Context, h Host) (func(*Report), error) {
	var all []Device
	for _, folder := range h.matches("sys/class/tpm", "tpm[0-9]*") {
		name := path.Base(folder)
		d := h.device(TPM, folder)
		d.Model = "TPM"
		switch h.text(folder + "/tpm_version_major") {
		case "1":
			d.Model = "TPM 1.2"
		case "2":
			d.Model = "TPM 2.0"
		}
		for _, node := range []string{"dev/tpmrm" + name[len("tpm"):], "dev/" + name} {
			if p := h.present(node); p != "" {
				d.Paths = append(d.Paths, p)
			}
		}
		all = append(all, d)
	}
	return func(r *Report) { r.Devices = append(r.Devices, all...) }, nil
}
