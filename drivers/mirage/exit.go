package mirage

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/process"
)

// Statuses of tenders.
const (
	statusTender    = 1 // or the guest's own
	statusAbort     = 255
	statusUsage     = 60 // to statusUsageEnd, and 1: wrong arguments, by the habit of MirageOS
	statusUsageEnd  = 64
	statusNoConsole = 141
	statusSeccomp   = 159
	statusIllegal   = 132 // of spt
	statusSegment   = 139 // of spt
	statusQEMU      = 83  // of a guest that has ended by itself
)

// lastWords is how many lines are looked at for the reason of an end.
const lastWords = 20

// explain says what the end of a tender means.
func (d *Driver) explain(w *process.Workload, started time.Time, exit drivers.Exit) drivers.Exit {
	l, err := w.Launch()
	if err != nil || len(l.Argv) == 0 || exit.OOMKilled || exit.Code == 0 && l.Argv[0] != qemu {
		return exit
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	h := drivers.Handle{Driver: name, Version: handleVersion, ID: l.ID, Generation: l.Generation}
	_ = d.Logs(ctx, h, drivers.LogOptions{Tail: lastWords, Since: started}, func(e drivers.LogEntry) error {
		if e.Time.After(exit.At.Add(time.Second)) { // of a later run
			return nil
		}
		if e.Stream == drivers.Stderr {
			errs.Write(e.Data)
		} else {
			out.Write(e.Data)
		}
		return nil
	})
	return meaning(l.Argv[0], exit, out.String(), errs.String())
}

// meaning turns the status of a tender, with its and its guest's last words,
// into the exit of the guest.
func meaning(kind string, exit drivers.Exit, out, errs string) drivers.Exit {
	say := func(reason string) {
		if exit.Reason == "" {
			exit.Reason = reason
		}
	}
	complaint := lastLine(errs)
	if n, ok := signalled(complaint); ok && (exit.Code == statusTender || kind == qemu) {
		exit.Code = 128 + n
		return exit
	}
	if kind == qemu {
		return usage(qemuMeaning(exit, out, complaint))
	}
	switch exit.Code {
	case statusTender:
		if complaint != "" {
			say(complaint)
		}
	case statusAbort:
		say("the guest has aborted, or exited with 255")
	case statusNoConsole:
		say("nobody read the guest's console any more")
	case statusSeccomp:
		say("the tender was stopped at a system call that it may not make: take it for a break-out")
	case statusIllegal, statusSegment:
		if kind == solo5SPT {
			say("the guest has crashed: an exception that it does not handle")
		}
	}
	return usage(exit)
}

// usage marks the statuses by which guests say that they cannot work with their
// arguments. What the tender or QEMU complains about has a reason already.
func usage(exit drivers.Exit) drivers.Exit {
	if exit.Reason == "" && (exit.Code == statusTender || exit.Code >= statusUsage && exit.Code <= statusUsageEnd) {
		exit.Reason, exit.Permanent = "the guest cannot work with its arguments; see its output", true
	}
	return exit
}

// qemuMeaning finds the guest's status in what Solo5 prints at the end, since
// QEMU's is the same for all.
func qemuMeaning(exit drivers.Exit, out, complaint string) drivers.Exit {
	if exit.Code != statusQEMU {
		if exit.Code == 0 { // it was reset: nobody handled an exception
			exit.Code, exit.Reason = statusAbort, "the guest has crashed: its machine was reset"
		} else if exit.Code == statusTender && complaint != "" {
			exit.Reason = complaint
		}
		return exit
	}
	last := lastLine(out)
	if strings.HasSuffix(last, "Solo5: solo5_abort() called") {
		exit.Code, exit.Reason = statusAbort, "the guest has aborted"
		return exit
	}
	if _, rest, ok := strings.Cut(last, "Solo5: solo5_exit("); ok {
		if n, err := strconv.Atoi(strings.TrimSuffix(rest, ") called")); err == nil {
			exit.Code = n & 0xff
		}
	}
	return exit
}

// signalled finds the signal that a tender says it was ended by:
//
//	edgehvt: exiting on signal 15
//	solo5-hvt: Exiting on signal 15
//	qemu-system-x86_64: terminating on signal 15 from pid 1 (…)
func signalled(line string) (int, bool) {
	for _, words := range []string{"xiting on signal ", "terminating on signal "} {
		if _, rest, ok := strings.Cut(line, words); ok {
			number, _, _ := strings.Cut(rest, " ")
			n, err := strconv.Atoi(strings.TrimSpace(number))
			return n, err == nil && n > 0 && n <= 64
		}
	}
	return 0, false
}

func lastLine(text string) string {
	text = strings.TrimRight(text, "\r\n")
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}
