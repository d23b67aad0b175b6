package capabilities

import (
	"cmp"
	"context"
	"strings"
)

// board finds the model of the machine: from the device tree on most ARM
// boards, from the firmware's tables (DMI) on PCs and on boards like them.
// Virtual machines may have neither.
type board struct{}

func (board) Name() string { return "board" }

func (board) Probe(_ context.Context, h Host) (func(*Report), error) {
	b, machine := h.treeBoard()
	if machine == "" {
		b, machine = h.dmiBoard()
	}
	if release := h.block("etc/nv_tegra_release"); release != "" {
		b.L4T = parseL4T(release)
		b.JetPack = jetpack(b.L4T)
	}
	return func(r *Report) { r.Board, r.Machine = b, machine }, nil
}

// deviceTree returns a property of the device tree's root.
func (h Host) deviceTree(property string) string {
	for _, dir := range []string{"sys/firmware/devicetree/base/", "proc/device-tree/"} {
		if text := h.block(dir + property); text != "" {
			return text
		}
	}
	return ""
}

// compatible returns the names of the machine in the device tree, the most
// special first; they end at NULs.
func (h Host) compatible() []string {
	var out []string
	for name := range strings.SplitSeq(h.deviceTree("compatible"), "\x00") {
		if name = clean(name); slug(name) != "" {
			out = append(out, name)
		}
	}
	return out
}

func (h Host) treeBoard() (Board, string) {
	model := clean(h.deviceTree("model"))
	if model == "" {
		model = cpuInfoValue(h.block("proc/cpuinfo"), "Model") // where only it is visible
	}
	names := h.compatible()
	if model == "" && len(names) == 0 {
		return Board{}, ""
	}
	b := Board{Model: model}
	for i, name := range names {
		vendor, rest, _ := strings.Cut(name, ",")
		if i == 0 {
			b.Compatible, b.Vendor = name, cmp.Or(treeVendors[vendor], vendor)
		}
		b.SoC = rest // the last is the chip
		if b.ID == "" {
			b.ID = cmp.Or(knownBoards[name], knownBoards[nvidiaModule(name)])
		}
	}
	if b.Vendor == "" && strings.HasPrefix(model, "Raspberry Pi") {
		b.Vendor = treeVendors["raspberrypi"]
	}
	b.ID = cmp.Or(b.ID, raspberry(model), slug(model))
	return b, cmp.Or(model, b.Compatible)
}

func (h Host) dmiBoard() (Board, string) {
	dmi := func(names ...string) string {
		for _, name := range names {
			if s := h.text("sys/class/dmi/id/" + name); !isFiller(s) {
				return s
			}
		}
		return ""
	}
	b := Board{Vendor: dmi("sys_vendor", "board_vendor"), Model: dmi("product_name", "board_name")}
	b.ID = cmp.Or(knownBoards[b.Model], knownBoards[dmi("board_name")], slug(shortVendor(b.Vendor)+" "+b.Model))
	return b, b.Model
}

// nvidiaModule takes the module out of "nvidia,carrier+module", with which
// newer releases name the machine: the same module comes on many carriers.
func nvidiaModule(compatible string) string {
	_, module, found := strings.Cut(compatible, "+")
	if !found {
		return ""
	}
	return "nvidia," + strings.TrimSuffix(module, "-super")
}

// isFiller tells what makers leave in place of a name.
func isFiller(s string) bool {
	switch strings.ToLower(strings.TrimRight(s, ". ")) {
	case "", "to be filled by o.e.m", "default string", "system manufacturer", "system product name", "not specified", "none", "o.e.m", "n/a", "0":
		return true
	}
	return false
}

// shortVendor leaves out a company's form.
func shortVendor(vendor string) string {
	first, _, _ := strings.Cut(strings.ReplaceAll(vendor, ",", " "), " ")
	return first
}

// raspberry makes the id of a Raspberry Pi: "Raspberry Pi 4 Model B Rev 1.4" is
// raspberry-pi-4, "Raspberry Pi Zero W Rev 1.1" is raspberry-pi-zero-w.
func raspberry(model string) string {
	rest, found := strings.CutPrefix(model, "Raspberry Pi ")
	if !found {
		return ""
	}
	rest, _, _ = strings.Cut(rest, " Rev ")
	rest = strings.TrimSuffix(rest, " Model B")
	rest = strings.ReplaceAll(rest, " Model B Plus", " plus")
	return slug("raspberry-pi-" + strings.TrimSpace(rest))
}

// slug makes a label's value out of a name.
func slug(name string) string {
	var out strings.Builder
	gap := false
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.' && out.Len() > 0:
			if gap && out.Len() > 0 {
				out.WriteByte('-')
			}
			gap = false
			out.WriteRune(r)
		default:
			gap = true
		}
	}
	s := out.String()
	return strings.TrimRight(s[:min(len(s), 63)], "-.")
}

// treeVendors are prefixes of the kernel's vendor-prefixes.yaml.
var treeVendors = map[string]string{
	"raspberrypi": "Raspberry Pi", "nvidia": "NVIDIA", "radxa": "Radxa", "xunlong": "Xunlong", "pine64": "PINE64", "friendlyarm": "FriendlyELEC",
	"hardkernel": "Hardkernel", "khadas": "Khadas", "xlnx": "Xilinx", "google": "Google", "ti": "Texas Instruments", "beagle": "BeagleBoard",
	"fsl": "NXP", "toradex": "Toradex", "firefly": "Firefly", "rockchip": "Rockchip", "asus": "ASUS", "udoo": "UDOO", "avnet": "Avnet",
}

// knownBoards are ids by what device tree or DMI call a board: those whose own
// name says less. NVIDIA's numbers are of carrier and module.
var knownBoards = map[string]string{
	"nvidia,p2371-2180":  "jetson-tx1",
	"nvidia,quill":       "jetson-tx2",
	"nvidia,p2771-0000":  "jetson-tx2",
	"nvidia,p3636-0001":  "jetson-tx2-nx",
	"nvidia,p3450-0000":  "jetson-nano",
	"nvidia,jetson-nano": "jetson-nano",
	"nvidia,p2972-0000":  "jetson-agx-xavier",
	"nvidia,galen":       "jetson-agx-xavier",
	"nvidia,p3668-0000":  "jetson-xavier-nx",
	"nvidia,p3668-0001":  "jetson-xavier-nx",
	"nvidia,p3701-0000":  "jetson-agx-orin",
	"nvidia,p3701-0004":  "jetson-agx-orin",
	"nvidia,p3701-0005":  "jetson-agx-orin",
	"nvidia,p3767-0000":  "jetson-orin-nx",
	"nvidia,p3767-0001":  "jetson-orin-nx",
	"nvidia,p3767-0003":  "jetson-orin-nano",
	"nvidia,p3767-0004":  "jetson-orin-nano",
	"nvidia,p3767-0005":  "jetson-orin-nano",
	"UP-CHT01":           "up-board",
	"UP-APL01":           "up-squared",
	"UDOO x86":           "udoo-x86",
	"google,phanbell":    "coral-dev-board",
}

// parseL4T reads the release out of "# R35 (release), REVISION: 4.1, GCID: …".
func parseL4T(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	_, rest, found := strings.Cut(first, "# R")
	major, _, ok := strings.Cut(rest, " ")
	_, rest, hasRevision := strings.Cut(rest, "REVISION: ")
	revision, _, _ := strings.Cut(rest, ",")
	if !found || !ok || !hasRevision || !isVersion(major) || !isVersion(revision) {
		return ""
	}
	return major + "." + revision
}

func isVersion(s string) bool { return s != "" && len(s) < 16 && strings.Trim(s, "0123456789.") == "" }

// jetpack returns the JetPack that came with a release of L4T, by NVIDIA's
// archive of JetPacks.
func jetpack(l4t string) string {
	return map[string]string{
		"28.1": "3.1", "28.2": "3.2", "28.2.1": "3.3", "28.4": "3.3.3", "31.1": "4.1.1", "32.1": "4.2", "32.2": "4.2.1", "32.2.1": "4.2.2", "32.2.3": "4.2.3",
		"32.3.1": "4.3", "32.4.2": "4.4-dp", "32.4.3": "4.4", "32.4.4": "4.4.1", "32.5": "4.5", "32.5.0": "4.5", "32.5.1": "4.5.1", "32.6.1": "4.6",
		"32.7.1": "4.6.1", "32.7.2": "4.6.2", "32.7.3": "4.6.3", "32.7.4": "4.6.4", "32.7.5": "4.6.5", "32.7.6": "4.6.6",
		"34.1": "5.0-dp", "34.1.1": "5.0.1-dp", "35.1": "5.0.2", "35.1.0": "5.0.2", "35.2.1": "5.1", "35.3.1": "5.1.1", "35.4.1": "5.1.2", "35.5.0": "5.1.3",
		"35.6.0": "5.1.4", "35.6.1": "5.1.5", "35.6.2": "5.1.5", "36.2": "6.0-dp", "36.2.0": "6.0-dp", "36.3": "6.0", "36.3.0": "6.0", "36.4": "6.1", "36.4.0": "6.1",
		"36.4.3": "6.2", "36.4.4": "6.2.1", "38.2": "7.0", "38.2.0": "7.0",
	}[l4t]
}
