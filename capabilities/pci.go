package capabilities

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strconv"
	"strings"
)

// pciDevices finds graphics cards, accelerators and FPGAs on PCI.
type pciDevices struct{}

func (pciDevices) Name() string { return "pci" }

func (pciDevices) Probe(ctx context.Context, h Host) (func(*Report), error) {
	var all []*Device
	const dir = "sys/bus/pci/devices"
	for _, address := range h.names(dir) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		folder := dir + "/" + address
		kind := pciKind(h.text(folder+"/class"), hexID(h.text(folder+"/vendor")), hexID(h.text(folder+"/device")))
		if kind == "" || !isPCIAddress(address) {
			continue
		}
		d := h.describePCI(Device{ID: string(kind) + "-pci-" + address, Kind: kind, address: "pci-" + address}, folder)
		d.Driver = h.target(folder + "/driver")
		if d.Driver != "" {
			d.DriverVersion = h.text("sys/module/" + d.Driver + "/version")
		}
		d.Paths = h.nodes(folder)
		if d.Driver == "nvidia" {
			h.addNVIDIA(&d, address)
		}
		d.MemoryBytes = cmp.Or(h.videoMemory(folder), d.MemoryBytes)
		d.SharedMemory = kind == GPU && d.VendorID == "8086" && d.MemoryBytes == 0
		all = append(all, &d)
	}
	all = oneCard(all)
	h.lookUp(pciNames, all)
	return func(r *Report) {
		for _, d := range all {
			r.Devices = append(r.Devices, *d)
		}
	}, nil
}

// oneCard makes one device of an FPGA card's functions, to manage it and to use
// it: handed out one by one they would be of no use.
func oneCard(all []*Device) []*Device {
	var out []*Device
	for _, d := range all {
		slot := d.ID[:len(d.ID)-1]
		i := slices.IndexFunc(out, func(o *Device) bool { return o.Kind == FPGA && o.ID[:len(o.ID)-1] == slot })
		if i < 0 {
			out = append(out, d)
			continue
		}
		*out[i] = join(*out[i], *d)
	}
	return out
}

// pciKind tells what a device is by its numbers, or else by its class; the
// classes are those of the PCI code and id assignment specification.
func pciKind(class, vendor, product string) Kind {
	if len(class) != 8 || class[:2] != "0x" || vendor == "" {
		return ""
	}
	base, sub := class[2:4], class[2:6]
	known := pciModels[vendor+":"+product].kind
	switch {
	case known == GPU && base != "03": // its sound or USB has other numbers; be safe
		return ""
	case known != "":
		return known
	case base == "06": // bridges, also of FPGA makers
		return ""
	case vendor == "1e60", vendor == "1da3":
		return NPU
	case vendor == "10ee", vendor == "1172", vendor == "1204":
		return FPGA
	case base == "03":
		switch vendor {
		case "1af4", "1b36", "1234", "1a03", "102b", "15ad", "80ee", "1414", "1013", "1d0f":
			return Display
		}
		return GPU
	case sub == "1200":
		return NPU
	}
	return ""
}

// hexID takes the digits out of "0x10de".
func hexID(s string) string {
	digits, found := strings.CutPrefix(s, "0x")
	if _, err := strconv.ParseUint(digits, 16, 16); !found || err != nil || len(digits) != 4 {
		return ""
	}
	return strings.ToLower(digits)
}

// describePCI adds what the device's folder and our tables tell.
func (h Host) describePCI(d Device, folder string) Device {
	d.VendorID, d.ProductID = hexID(h.text(folder+"/vendor")), hexID(h.text(folder+"/device"))
	known := pciModels[d.VendorID+":"+d.ProductID]
	d.Vendor, d.Model, d.MemoryBytes = pciVendors[d.VendorID], known.name, known.memory<<30
	if n, err := strconv.Atoi(h.text(folder + "/numa_node")); err == nil && n >= 0 && h.exists("sys/devices/system/node/node1") {
		d.NUMANode = &n
	}
	return d
}

// videoMemory returns the size of a card's memory where its driver tells it:
// amdgpu, and i915 and xe for cards of Intel's.
func (h Host) videoMemory(folder string) int64 {
	if n := h.number(folder + "/mem_info_vram_total"); n > 0 {
		return n
	}
	for _, card := range h.matches(folder+"/drm", "card[0-9]*") {
		if n := h.number(card + "/lmem_total_bytes"); n > 0 {
			return n
		}
	}
	return 0
}

// addNVIDIA adds what NVIDIA's own driver tells in /proc; it makes its nodes
// itself, and has three that all cards share.
func (h Host) addNVIDIA(d *Device, address string) {
	info := h.block("proc/driver/nvidia/gpus/" + address + "/information")
	if name := strings.TrimPrefix(cpuInfoValue(info, "Model"), "NVIDIA "); name != "" {
		d.Model = name
	}
	paths := d.Paths
	d.Paths = nil
	if minor, err := strconv.ParseUint(cpuInfoValue(info, "Device Minor"), 10, 16); err == nil {
		for _, name := range []string{"nvidia" + strconv.FormatUint(minor, 10), "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"} {
			if p := h.present("dev/" + name); p != "" {
				d.Paths = append(d.Paths, p)
			}
		}
	}
	d.Paths = append(d.Paths, paths...)
	// NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 …
	for _, word := range strings.Fields(h.block("proc/driver/nvidia/version")) {
		if isVersion(word) && strings.Contains(word, ".") {
			d.DriverVersion = word
			break
		}
	}
}

// accelerators finds what the kernel's class for accelerators and those of
// makers from before it have, and no other probe knows.
type accelerators struct{}

func (accelerators) Name() string { return "accelerators" }

func (accelerators) Probe(_ context.Context, h Host) (func(*Report), error) {
	var all []Device
	for class, model := range map[string]string{"accel": "", "apex": "Coral Edge TPU", "hailo_chardev": "Hailo"} {
		for _, name := range h.names("sys/class/" + class) {
			folder := "sys/class/" + class + "/" + name
			d := h.device(NPU, folder+"/device")
			if strings.HasPrefix(d.address, "platform-device") { // not linked to anything
				d.ID, d.address = "npu-platform-"+name, "platform-"+name
			}
			if m := pciModels[d.VendorID+":"+d.ProductID]; m.kind != "" && m.kind != NPU {
				continue // entered by the PCI probe
			}
			d.Model = cmp.Or(d.Model, model)
			if node := h.node(folder); node != "" {
				d.Paths = append(d.Paths, node)
			}
			all = append(all, d)
		}
	}
	return func(r *Report) { r.Devices = append(r.Devices, all...) }, nil
}

// fpgaManagers finds FPGAs that the kernel can program, as in a Zynq.
type fpgaManagers struct{}

func (fpgaManagers) Name() string { return "fpga" }

func (fpgaManagers) Probe(_ context.Context, h Host) (func(*Report), error) {
	var all []Device
	for _, folder := range h.matches("sys/class/fpga_manager", "fpga[0-9]*") {
		d := h.device(FPGA, folder)
		name := h.text(folder + "/name")
		if maker, _, _ := strings.Cut(name, " "); slices.Contains([]string{"Xilinx", "Altera", "Intel", "Lattice", "Microchip"}, maker) {
			d.Vendor = cmp.Or(d.Vendor, maker)
		}
		d.Model = cmp.Or(d.Model, name)
		d.Paths = append(d.Paths, "/"+folder)
		if node := h.present("dev/" + path.Base(folder)); node != "" {
			d.Paths = append(d.Paths, node)
		}
		all = append(all, d)
	}
	return func(r *Report) { r.Devices = append(r.Devices, all...) }, nil
}
