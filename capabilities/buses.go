package capabilities

import (
	"cmp"
	"context"
	"path"
	"strings"
)

// buses finds I2C and SPI buses and GPIO chips that programs may drive.
type buses struct{}

func (buses) Name() string { return "buses" }

func (buses) Probe(_ context.Context, h Host) (func(*Report), error) {
	var all []Device
	add := func(kind Kind, folder, model string) {
		node := h.present("dev/" + path.Base(folder))
		if node == "" {
			return // its driver for programs (i2c-dev, spidev) is not loaded
		}
		d := h.device(kind, folder)
		d.Model, d.Paths = cmp.Or(model, d.Model), []string{node}
		if kind != GPIO { // several may hang on one device
			d.ID += "-" + clean(path.Base(folder))
		}
		all = append(all, d)
	}
	for _, folder := range h.matches("sys/bus/i2c/devices", "i2c-[0-9]*") {
		if name := h.text(folder + "/name"); !isPrivateI2C(name) {
			add(I2C, folder, name)
		}
	}
	for _, folder := range h.matches("sys/class/spidev", "spidev*") {
		add(SPI, folder, "")
	}
	labels := h.gpioLabels()
	for _, folder := range h.matches("sys/bus/gpio/devices", "gpiochip*") {
		add(GPIO, folder, labels[h.place(folder).address])
	}
	return func(r *Report) { r.Devices = append(r.Devices, all...) }, nil
}

// isPrivateI2C tells buses that belong to graphics cards and mainboards; what
// writes to those can break them.
func isPrivateI2C(name string) bool {
	lower := strings.ToLower(name)
	for _, part := range []string{"nvidia", "gmbus", "i915", "amdgpu", "radeon", "dpddc", "aux", "smbus", "drm", "nvkm", "nouveau", "hdmi", "ddc"} {
		if strings.Contains(lower, part) {
			return true
		}
	}
	return false
}

// gpioLabels returns what the older interface calls each chip: the newer one
// tells by a call on the node only.
func (h Host) gpioLabels() map[string]string {
	out := map[string]string{}
	for _, folder := range h.matches("sys/class/gpio", "gpiochip*") {
		out[h.place(folder).address] = h.text(folder + "/label")
	}
	return out
}
