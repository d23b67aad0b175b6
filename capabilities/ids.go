package capabilities

import (
	"bufio"
	"strings"
)

// Files of names by number, as Debian, Fedora and Alpine install them.
var (
	pciNames = []string{"usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"}
	usbNames = []string{"usr/share/misc/usb.ids", "var/lib/usbutils/usb.ids", "usr/share/hwdata/usb.ids"}
)

// lookUp names the devices that have no name yet by the host's list, if it has
// one. The list is read through once, and not kept: it has more than a MiB.
func (h Host) lookUp(files []string, devices []*Device) {
	wanted := map[string][]*Device{} // by vendor
	for _, d := range devices {
		if d.Vendor == "" || d.Model == "" {
			wanted[d.VendorID] = append(wanted[d.VendorID], d)
		}
	}
	if len(wanted) == 0 {
		return
	}
	for _, name := range files {
		f, err := h.open(name)
		if err != nil {
			continue
		}
		defer func() { _ = f.Close() }() // of a file that was only read
		lines := bufio.NewScanner(f)
		var of []*Device
		for n := 0; lines.Scan() && n < 100_000; n++ {
			of = nameBy(lines.Bytes(), of, wanted)
		}
		return
	}
}

// nameBy takes one line of a list: "10de  NVIDIA Corporation", or below it
// "\t1b80  GP104 [GeForce GTX 1080]". It returns the devices of the vendor
// whose lines follow.
func nameBy(line []byte, of []*Device, wanted map[string][]*Device) []*Device {
	switch {
	case len(line) > 6 && line[0] != '\t' && line[0] != '#':
		of = wanted[string(line[:4])]
		for _, d := range of {
			if d.Vendor == "" {
				d.Vendor = clean(string(line[6:]))
			}
		}
	case len(of) > 0 && len(line) > 7 && line[0] == '\t' && line[1] != '\t':
		for _, d := range of {
			if d.Model == "" && d.ProductID == string(line[1:5]) {
				d.Model = bracketed(clean(string(line[7:])))
			}
		}
	}
	return of
}

// bracketed prefers the name that is sold over the chip's: "GP104 [GeForce GTX 1080]".
func bracketed(name string) string {
	_, rest, found := strings.Cut(name, "[")
	if inner, _, closed := strings.Cut(rest, "]"); found && closed && inner != "" {
		return inner
	}
	return name
}

// pciVendors are those of accelerators and graphics.
var pciVendors = map[string]string{
	"10de": "NVIDIA", "1002": "AMD", "1022": "AMD", "8086": "Intel", "10ee": "Xilinx", "1172": "Altera", "1204": "Lattice", "1e60": "Hailo",
	"1ac1": "Google", "1ae0": "Google", "1d0f": "Amazon", "1da3": "Habana Labs", "1af4": "Red Hat", "1b36": "Red Hat", "1234": "QEMU",
	"1a03": "ASPEED", "102b": "Matrox", "15ad": "VMware", "80ee": "VirtualBox", "1414": "Microsoft", "17cb": "Qualcomm", "1fe9": "MemryX", "1f9d": "Axelera",
	"14e4": "Broadcom", "1b73": "Fresco Logic", "1013": "Cirrus Logic",
}

// model is what is known of a PCI or USB device by its numbers.
type model struct {
	kind   Kind
	name   string
	memory int64 // GiB; the proprietary driver tells of it by no file
}

// pciModels are accelerators, which are not classed as such by all makers, and
// cards whose memory cannot be read.
var pciModels = map[string]model{
	"1e60:2864": {NPU, "Hailo-8", 0}, "1e60:43a2": {NPU, "Hailo-15", 0}, "1e60:45c4": {NPU, "Hailo-10H", 0},
	"1ac1:089a": {NPU, "Coral Edge TPU", 0}, "1ae0:0027": {NPU, "Cloud TPU v2", 0},
	"8086:7d1d": {NPU, "Meteor Lake NPU", 0}, "8086:ad1d": {NPU, "Arrow Lake NPU", 0}, "8086:643e": {NPU, "Lunar Lake NPU", 0}, "8086:b03e": {NPU, "Panther Lake NPU", 0},
	"8086:6240": {VPU, "Movidius Keem Bay", 0}, "8086:4fc0": {VPU, "Movidius Thunder Bay", 0},
	"1022:1502": {NPU, "XDNA NPU (Phoenix)", 0}, "1022:17f0": {NPU, "XDNA 2 NPU (Strix)", 0},
	"1da3:1000": {NPU, "Gaudi", 0}, "1da3:1020": {NPU, "Gaudi 2", 0}, "17cb:a100": {NPU, "Cloud AI 100", 0}, "1fe9:0100": {NPU, "MX3", 0},
	"1d0f:7064": {NPU, "Inferentia", 0}, "1d0f:7264": {NPU, "Inferentia 2", 0},
	"8086:09c4": {FPGA, "PAC with Arria 10 GX", 0}, "8086:0b2b": {FPGA, "PAC D5005", 0}, "8086:0b30": {FPGA, "PAC N3000", 0}, "8086:bcce": {FPGA, "N6000-PL", 0},
	"1d0f:f000": {FPGA, "F1 FPGA", 0}, "1d0f:f010": {FPGA, "F1 FPGA", 0}, "1d0f:9048": {FPGA, "F2 FPGA", 0},
	"10ee:5000": {FPGA, "Alveo U200", 0}, "10ee:5004": {FPGA, "Alveo U250", 0}, "10ee:500c": {FPGA, "Alveo U280", 0}, "10ee:5020": {FPGA, "Alveo U50", 0},
	"10de:1eb8": {GPU, "Tesla T4", 16}, "10de:25b6": {GPU, "A2", 16}, "10de:2236": {GPU, "A10", 24}, "10de:2235": {GPU, "A40", 48}, "10de:27b8": {GPU, "L4", 24},
	"10de:26b9": {GPU, "L40S", 48}, "10de:20b0": {GPU, "A100 SXM4 40GB", 40}, "10de:20b2": {GPU, "A100 SXM4 80GB", 80}, "10de:20b5": {GPU, "A100 PCIe 80GB", 80},
	"10de:20f1": {GPU, "A100 PCIe 40GB", 40}, "10de:2330": {GPU, "H100 SXM5 80GB", 80}, "10de:2331": {GPU, "H100 PCIe", 80}, "10de:2335": {GPU, "H200 SXM 141GB", 141},
	"10de:1b80": {GPU, "GeForce GTX 1080", 8}, "10de:1b06": {GPU, "GeForce GTX 1080 Ti", 11}, "10de:1e04": {GPU, "GeForce RTX 2080 Ti", 11},
	"10de:2504": {GPU, "GeForce RTX 3060 Lite Hash Rate", 12}, "10de:2204": {GPU, "GeForce RTX 3090", 24}, "10de:2684": {GPU, "GeForce RTX 4090", 24},
	"10de:2882": {GPU, "GeForce RTX 4060", 8}, "10de:2b85": {GPU, "GeForce RTX 5090", 32},
	"8086:3e92": {GPU, "UHD Graphics 630", 0}, "8086:22b0": {GPU, "HD Graphics (Cherry Trail)", 0}, "8086:22b1": {GPU, "HD Graphics (Braswell)", 0},
}

// usbModels are accelerators. Some come back under other numbers once their
// firmware is loaded, at the same port.
var usbModels = map[string]model{
	"03e7:2150": {VPU, "Movidius Myriad 2", 0}, "03e7:2485": {VPU, "Movidius Myriad X", 0}, "03e7:040e": {VPU, "Movidius Myriad", 0},
	"03e7:f63b": {VPU, "Movidius Myriad X", 0}, "03e7:f63c": {VPU, "Movidius Myriad X", 0}, "03e7:f63d": {VPU, "Movidius Myriad X", 0}, "03e7:f63e": {VPU, "Movidius Myriad X", 0},
	"1a6e:089a": {NPU, "Coral Edge TPU", 0}, "18d1:9302": {NPU, "Coral Edge TPU", 0}, "18d1:9303": {NPU, "Coral Edge TPU", 0},
}

var usbVendors = map[string]string{
	"03e7": "Intel", "1a6e": "Google", "18d1": "Google", "0403": "FTDI", "10c4": "Silicon Labs", "067b": "Prolific", "1a86": "QinHeng", "2341": "Arduino",
	"046d": "Logitech", "8087": "Intel", "0bda": "Realtek", "0424": "Microchip",
}
