package capabilities

import (
	"context"
	"slices"
	"strings"
)

// serialPorts finds serial ports that have hardware behind them.
type serialPorts struct{}

func (serialPorts) Name() string { return "serial" }

func (serialPorts) Probe(_ context.Context, h Host) (func(*Report), error) {
	var all []Device
	const dir = "sys/class/tty"
	names := h.names(dir)
	slices.SortFunc(names, naturally)
	for _, name := range names {
		folder := dir + "/" + name
		if !isSerialName(name) || !h.exists(folder+"/device") {
			continue
		}
		const none = "0" // the kernel reserves ttyS0 to ttyS3 for ports that may not be there
		if h.text(folder+"/type") == none {
			continue
		}
		d := h.device(Serial, folder)
		if strings.HasPrefix(d.address, "platform-serial8250") { // one device for all ports of a PC
			d.ID += "-" + name
		}
		node := h.present("dev/" + name)
		if node == "" {
			continue
		}
		d.Paths = []string{node}
		all = append(all, d)
	}
	return func(r *Report) { r.Devices = append(r.Devices, all...) }, nil
}

// isSerialName leaves out consoles and terminals, of which there are hundreds.
func isSerialName(name string) bool {
	rest, found := strings.CutPrefix(name, "tty")
	return found && rest != "" && (rest[0] < '0' || rest[0] > '9') && name != "tty" && !strings.HasPrefix(rest, "y") && !strings.HasPrefix(rest, "printk")
}
