package capabilities

import (
	"fmt"
	"syscall"
)

// kernelSynchronised asks the kernel whether somebody (ntpd, chrony,
// systemd-timesyncd) keeps its clock in step. See adjtimex(2).
func kernelSynchronised() (Answer, error) {
	const unsynchronised = 0x40 // STA_UNSYNC
	var t syscall.Timex
	if _, err := syscall.Adjtimex(&t); err != nil {
		return "", fmt.Errorf("ask the kernel about its clock: %w", err)
	}
	return answer(t.Status&unsynchronised == 0), nil
}
