// One thread runs the guest and the others do next to nothing, so there is no
// need to learn how many processors there are.

//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command edgehvt is a tender: it runs one Solo5 guest of the target hvt on
// /dev/kvm, where solo5-hvt is not installed. Its command line is that of
// solo5-hvt, with --uid and --gid added.
//
// The guest's console is standard output. The status is the guest's own (0 to
// 255, 255 is an abort); 1 with a message on standard error if the guest could
// not be started or has crashed, or after SIGTERM or SIGINT; 141 if nobody
// reads the console.
//
// There is one edgehvt per guest, so it must stay small: see package hvt.
package main

import (
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"

	"github.com/edgeio/edgeio/drivers/mirage/hvt"
)

// version is set by the linker.
var version = "dev"

const usage = `edgehvt runs one Solo5 guest of the target hvt on /dev/kvm.

  edgehvt [OPTION…] [--] KERNEL [ARGUMENT…]

  --mem=MIB                       memory of the guest, default 512
  --net:NAME=TAP                  attach net device NAME to a tap device, which exists and is up
  --net-mac:NAME=ADDRESS          its Ethernet address; a random one if not given
  --block:NAME=FILE               attach block device NAME to a file or block device
  --block-sector-size:NAME=BYTES  bytes of its sectors, default 512
  --uid=NUMBER, --gid=NUMBER      become that user and group before the guest starts
  --version                       print versions of program and ABI
  --help                          print this
`

func main() {
	os.Exit(command(os.Args[1:]))
}

func command(args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "--version":
			_, _ = os.Stdout.WriteString("edgehvt tender, version " + version + "\nABI version " + strconv.Itoa(hvt.ABIVersion) + "\n")
			return 0
		case "--help", "-h":
			_, _ = os.Stdout.WriteString(usage)
			return 0
		}
	}
	options, err := hvt.ParseOptions(args)
	if err != nil {
		return complain(err)
	}
	// The guest's run allocates nothing worth collecting.
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(1)
	endOnSignal()
	status, err := hvt.Run(options)
	if err != nil {
		return complain(err)
	}
	return status
}

func complain(err error) int {
	_, _ = os.Stderr.WriteString("edgehvt: " + err.Error() + "\n")
	return 1
}

// endOnSignal ends the program when it is told to; the goroutine lives as long
// as the program does.
func endOnSignal() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		s := (<-told).(syscall.Signal)
		_, _ = os.Stderr.WriteString("edgehvt: exiting on signal " + strconv.Itoa(int(s)) + "\n")
		os.Exit(1)
	}()
}
