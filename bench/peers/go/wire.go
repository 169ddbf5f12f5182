package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/quic-go/quic-go"
)

const readBuffer = 65536

var quicConfig = &quic.Config{MaxIdleTimeout: 2 * time.Minute, KeepAlivePeriod: 20 * time.Second}

// wire carries messages over one stream.
type wire struct {
	output  io.Writer
	input   *bufio.Reader
	frame   []byte
	message []byte
	close   func()
	// closed returns when the peer has closed.
	closed func()
}

func newWire(stream io.ReadWriter, closing func(), closed func()) *wire {
	return &wire{output: stream, input: bufio.NewReaderSize(stream, readBuffer), close: closing, closed: closed}
}

func (w *wire) send(message []byte) error {
	w.frame = binary.BigEndian.AppendUint32(w.frame[:0], uint32(len(message)))
	w.frame = append(w.frame, message...)
	_, err := w.output.Write(w.frame)
	return err
}

// receive gives the next message; it is valid until the next call.
func (w *wire) receive() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(w.input, head[:]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(head[:]))
	if cap(w.message) < size {
		w.message = make([]byte, size)
	}
	w.message = w.message[:size]
	_, err := io.ReadFull(w.input, w.message)
	return w.message, err
}

func wireOfConn(conn net.Conn) *wire {
	wait := func() { _, _ = conn.Read(make([]byte, 1)) }
	return newWire(conn, func() { conn.Close() }, wait)
}

func wireOfQuic(conn *quic.Conn, stream *quic.Stream) *wire {
	wait := func() { <-conn.Context().Done() }
	return newWire(stream, func() { _ = conn.CloseWithError(0, "") }, wait)
}

func serverTLS() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fail(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	fail(err)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"bench"},
		MinVersion:   tls.VersionTLS13,
	}
}

func clientTLS() *tls.Config {
	return &tls.Config{
		InsecureSkipVerify:     true,
		NextProtos:             []string{"bench"},
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
	}
}

func clientAddress() net.IP {
	if host := os.Getenv("CLIENT_HOST"); host != "" {
		return net.ParseIP(host)
	}
	return net.IPv4(127, 0, 0, 1)
}

// dialler gives a function that opens one more connection; those of QUIC share a socket, as ours do.
func dialler(t task) func() *wire {
	if t.protocol != "quic" {
		return func() *wire { return dialTCP(t) }
	}
	remote, err := net.ResolveUDPAddr("udp", t.address)
	fail(err)
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: clientAddress()})
	fail(err)
	transport := &quic.Transport{Conn: socket}
	return func() *wire {
		conn, err := transport.Dial(context.Background(), remote, clientTLS(), quicConfig)
		fail(err)
		stream, err := conn.OpenStreamSync(context.Background())
		fail(err)
		return wireOfQuic(conn, stream)
	}
}

func dialTCP(t task) *wire {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: clientAddress()}}
	if t.protocol == "tcp" {
		conn, err := dialer.Dial("tcp", t.address)
		fail(err)
		return wireOfConn(conn)
	}
	conn, err := tls.DialWithDialer(dialer, "tcp", t.address, clientTLS())
	fail(err)
	return wireOfConn(conn)
}

// listen calls the handler for each connection, on a goroutine of its own; it never returns.
func listen(t task, handler func(*wire)) {
	if t.protocol == "quic" {
		listenQuic(t, handler)
	}
	listener, err := net.Listen("tcp", t.address)
	fail(err)
	config := serverTLS()
	fmt.Println("READY")
	for {
		conn, err := listener.Accept()
		fail(err)
		if t.protocol == "tls" {
			conn = tls.Server(conn, config)
		}
		go handler(wireOfConn(conn))
	}
}

func listenQuic(t task, handler func(*wire)) {
	listener, err := quic.ListenAddr(t.address, serverTLS(), quicConfig)
	fail(err)
	fmt.Println("READY")
	for {
		conn, err := listener.Accept(context.Background())
		fail(err)
		go func() {
			if stream, err := conn.AcceptStream(context.Background()); err == nil {
				handler(wireOfQuic(conn, stream))
			}
		}()
	}
}
