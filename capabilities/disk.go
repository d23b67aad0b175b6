package capabilities

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"
)

// disk finds the drives, and the size of the agent's file system.
type disk struct{}

func (disk) Name() string { return "disk" }

func (disk) Probe(_ context.Context, h Host) (func(*Report), error) {
	total, _, available, err := h.statfs()
	state := Disk{Path: h.stateDir(), TotalBytes: total, FreeBytes: available}
	var drives []Drive
	for _, name := range h.names("sys/block") {
		if isDrive(name) {
			if d := h.drive(name); d.Bytes > 0 || d.Removable { // a card reader may be empty
				drives = append(drives, d)
			}
		}
	}
	slices.SortFunc(drives, func(a, b Drive) int { return naturally(a.Name, b.Name) })
	return func(r *Report) { r.Disk, r.Disks = state, drives }, err
}

// isDrive leaves out what the kernel makes up: loops, RAM disks, mappings, and
// the hidden partitions of eMMC chips.
func isDrive(name string) bool {
	for _, prefix := range []string{"loop", "ram", "zram", "dm-", "md", "nbd", "sr", "fd", "mtdblock", "drbd", "rbd"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return !strings.Contains(name, "boot") && !strings.HasSuffix(name, "rpmb")
}

func (h Host) drive(name string) Drive {
	dir := "sys/block/" + name
	const sector = 512 // whatever the drive's own sectors are
	d := Drive{
		Name: name, Bytes: max(min(h.number(dir+"/size"), 1<<50), 0) * sector,
		Rotational: h.text(dir+"/queue/rotational") == "1", Removable: h.text(dir+"/removable") == "1",
	}
	vendor, model := h.text(dir+"/device/vendor"), cmp.Or(h.text(dir+"/device/model"), h.text(dir+"/device/name"))
	if strings.HasPrefix(vendor, "0x") || vendor == "ATA" { // a number, or the protocol
		vendor = ""
	}
	d.Model = clean(vendor + " " + model)
	d.Bus = driveBus(name, h.real(dir))
	if d.Bus == "virtio" {
		d.Rotational = false // nobody knows
	}
	return d
}

// driveBus tells a drive's bus by its name or where it hangs.
func driveBus(name, folder string) string {
	switch {
	case strings.HasPrefix(name, "nvme"):
		return "nvme"
	case strings.HasPrefix(name, "mmcblk"):
		return "mmc"
	case strings.HasPrefix(name, "vd"):
		return "virtio"
	case strings.HasPrefix(name, "xvd"):
		return "xen"
	}
	for element := range strings.SplitSeq(path.Dir(folder), "/") {
		switch {
		case strings.HasPrefix(element, "usb"):
			return "usb"
		case strings.HasPrefix(element, "ata"):
			return "ata"
		case strings.HasPrefix(element, "virtio"):
			return "virtio"
		}
	}
	if strings.HasPrefix(name, "sd") {
		return "scsi"
	}
	return ""
}
