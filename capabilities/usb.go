package capabilities

import (
	"cmp"
	"context"
	"fmt"
	"strings"
)

// usbDevices finds what is plugged into USB, hubs left out.
type usbDevices struct{}

func (usbDevices) Name() string { return "usb" }

func (usbDevices) Probe(ctx context.Context, h Host) (func(*Report), error) {
	var all []*Device
	const dir = "sys/bus/usb/devices"
	for _, port := range h.names(dir) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		const hub = "09"
		folder := dir + "/" + port
		vendor, product := h.text(folder+"/idVendor"), h.text(folder+"/idProduct")
		if strings.Contains(port, ":") || vendor == "" || h.text(folder+"/bDeviceClass") == hub {
			continue
		}
		kind := cmp.Or(usbModels[vendor+":"+product].kind, USB)
		d := h.describeUSB(Device{ID: string(kind) + "-usb-" + clean(port), Kind: kind, address: "usb-" + port}, folder)
		d.Driver = h.target(folder + "/" + port + ":1.0/driver")
		if node := h.usbNode(folder); node != "" {
			d.Paths = append(d.Paths, node)
		}
		all = append(all, &d)
	}
	h.lookUp(usbNames, all)
	return func(r *Report) {
		for _, d := range all {
			r.Devices = append(r.Devices, *d)
		}
	}, nil
}

// usbNode is the node that libusb opens. Its name changes each time the device
// is plugged in, or loads its firmware.
func (h Host) usbNode(folder string) string {
	return h.present(fmt.Sprintf("dev/bus/usb/%03d/%03d", h.number(folder+"/busnum"), h.number(folder+"/devnum")))
}

// describeUSB adds what the device says of itself and our tables tell.
func (h Host) describeUSB(d Device, folder string) Device {
	d.VendorID, d.ProductID = hexID("0x"+h.text(folder+"/idVendor")), hexID("0x"+h.text(folder+"/idProduct"))
	known := usbModels[d.VendorID+":"+d.ProductID]
	d.Model = cmp.Or(known.name, h.text(folder+"/product"))
	d.Vendor = cmp.Or(usbVendors[d.VendorID], h.text(folder+"/manufacturer"))
	return d
}
