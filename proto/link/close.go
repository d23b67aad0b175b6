package link

import (
	"errors"
	"fmt"

	"github.com/quic-go/quic-go"
)

// Code is why a session was closed. The numbers are wire codes.
type Code uint64

// The codes.
const (
	CodeShutdown  Code = 1 // the program stops, or does not need the session any more
	CodeReplaced  Code = 2 // by a newer connection of the same peer
	CodeRevoked   Code = 3 // the peer is not trusted any more
	CodeBusy      Code = 4 // too many sessions
	CodeAnonymous Code = 5 // the time to enrol is over
	CodeProtocol  Code = 6 // the peer does not keep to the protocol
)

// class is that of the error which calls on a session closed so end with.
func (c Code) class() Class {
	if c == CodeRevoked {
		return Denied
	}
	return Unavailable
}

// CloseError says that one of the ends closed the session, and why.
type CloseError struct {
	Code   Code
	Reason string
	Remote bool // the peer did
}

func (e *CloseError) Error() string {
	who := "here"
	if e.Remote {
		who = "by the peer"
	}
	return fmt.Sprintf("link closed %s: %s", who, e.Reason)
}

// sessionError explains why a QUIC connection ended, or was never made.
func sessionError(err error) error {
	var app *quic.ApplicationError
	var transport *quic.TransportError
	var idle *quic.IdleTimeoutError
	var handshake *quic.HandshakeTimeoutError
	var reset *quic.StatelessResetError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &app):
		ce := &CloseError{Code: Code(app.ErrorCode), Reason: app.ErrorMessage, Remote: app.Remote}
		return &classError{class: ce.Code.class(), err: ce}
	case errors.As(err, &idle):
		return Error(Unavailable, "the peer went silent: %w", err)
	case errors.As(err, &handshake):
		return Error(Unavailable, "no answer: %w; is the address right, and does a firewall let UDP through?", err)
	case errors.As(err, &reset):
		return Error(Unavailable, "the peer has restarted: %w", err)
	case errors.As(err, &transport) && transport.ErrorCode.IsCryptoError():
		return Error(Denied, "%s", tlsFailure(transport))
	}
	return Error(Unavailable, "link: %w", err)
}

// TLS alerts (RFC 8446, section 6) with which a peer refuses a certificate.
const (
	quicCryptoError     = 0x100 // RFC 9001, section 4.8: this plus the alert
	alertBadCertificate = 42
	alertNoProtocol     = 120
)

func tlsFailure(e *quic.TransportError) string {
	alert := e.ErrorCode - quicCryptoError
	switch {
	case !e.Remote:
		return fmt.Sprintf("the peer's certificate: %v", e)
	case alert == alertBadCertificate:
		return "the peer refused the certificate of this process; its log says why (expired, revoked, of another authority)"
	case alert == alertNoProtocol:
		return "the peer does not speak this version of the protocol; upgrade the older of the two"
	}
	return fmt.Sprintf("the peer refused the handshake: %v", e)
}
