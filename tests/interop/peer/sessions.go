package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/hashicorp/yamux"
)

// settings are yamux.Config's; what is zero stays as in Go's default.
type settings struct {
	Backlog       int     `json:"backlog"`
	Window        uint32  `json:"window"`
	KeepAlive     float64 `json:"keep_alive_s"`
	WriteTimeout  float64 `json:"write_timeout_s"`
	OpenTimeout   float64 `json:"open_timeout_s"`
	CloseTimeout  float64 `json:"close_timeout_s"`
	FirstStreamID uint32  `json:"first_stream_id"`
}

type session struct {
	*yamux.Session
	conn *gatedConn
	log  *lockedBuffer

	mutex   sync.Mutex
	streams map[uint32]*yamux.Stream
}

var (
	sessionsMutex sync.Mutex
	sessions      []*session
)

func find(number int) *session {
	sessionsMutex.Lock()
	defer sessionsMutex.Unlock()
	if number < 0 || number >= len(sessions) {
		return nil
	}
	return sessions[number]
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func dial(path, role string, s settings) (any, error) {
	raw, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	config := yamux.DefaultConfig()
	log := &lockedBuffer{}
	config.LogOutput = log
	if s.Backlog > 0 {
		config.AcceptBacklog = s.Backlog
	}
	if s.Window > 0 {
		config.MaxStreamWindowSize = s.Window
	}
	for _, delay := range []struct {
		wanted float64
		field  *time.Duration
	}{
		{s.KeepAlive, &config.KeepAliveInterval},
		{s.WriteTimeout, &config.ConnectionWriteTimeout},
		{s.OpenTimeout, &config.StreamOpenTimeout},
		{s.CloseTimeout, &config.StreamCloseTimeout},
	} {
		if delay.wanted > 0 {
			*delay.field = seconds(delay.wanted)
		}
	}
	begin := yamux.Server
	if role == "client" {
		begin = yamux.Client
	}
	conn := newGatedConn(raw)
	started, err := begin(conn, config)
	if err != nil {
		return nil, err
	}
	if s.FirstStreamID > 0 { // there is no other way to come near the end of the ids
		next := reflect.ValueOf(started).Elem().FieldByName("nextStreamID")
		atomic.StoreUint32((*uint32)(unsafe.Pointer(next.UnsafeAddr())), s.FirstStreamID)
	}
	sessionsMutex.Lock()
	defer sessionsMutex.Unlock()
	sessions = append(sessions, &session{Session: started, conn: conn, log: log, streams: map[uint32]*yamux.Stream{}})
	return len(sessions) - 1, nil
}

func (s *session) keep(stream *yamux.Stream, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.streams[stream.StreamID()] = stream
	return stream.StreamID(), nil
}

func (s *session) stream(id uint32) (*yamux.Stream, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if stream := s.streams[id]; stream != nil {
		return stream, nil
	}
	return nil, fmt.Errorf("peer: no stream %d", id)
}

func (s *session) do(r request) (any, error) {
	switch r.Op {
	case "open":
		return s.keep(s.OpenStream())
	case "accept":
		return s.keep(s.AcceptStream())
	case "serve_echo":
		return nil, s.serveEcho()
	case "ask":
		return s.ask(r.Size)
	case "ping":
		rtt, err := s.Ping()
		return rtt.Seconds(), err
	case "go_away":
		return nil, s.GoAway()
	case "close_session":
		return nil, s.Close()
	case "wait_closed":
		<-s.CloseChan()
		return nil, nil
	case "count":
		return s.NumStreams(), nil
	case "log":
		return s.log.String(), nil
	case "stop_reading":
		s.conn.stop()
		return nil, nil
	case "go_on_reading":
		s.conn.goOn()
		return nil, nil
	case "inject": // behind the session's back
		data, err := hex.DecodeString(r.Hex)
		if err == nil {
			_, err = s.conn.Write(data)
		}
		return nil, err
	}
	stream, err := s.stream(r.Stream)
	if err != nil {
		return nil, err
	}
	switch r.Op {
	case "write":
		return write(stream, r.Size)
	case "read":
		return read(stream, r.Size)
	case "close":
		return nil, stream.Close()
	}
	return nil, fmt.Errorf("peer: no operation %q", r.Op)
}

// content is what went over a stream in one direction.
type content struct {
	Size int    `json:"size"`
	Hash string `json:"hash"`
	EOF  bool   `json:"eof"`
}

var block = func() []byte {
	data := make([]byte, 1<<20)
	rand.New(rand.NewSource(1)).Read(data)
	return data
}()

// write sends bytes that are different everywhere: each block begins with its number.
func write(stream *yamux.Stream, size int) (any, error) {
	hash := sha256.New()
	mine := bytes.Clone(block)
	sent := content{}
	for number := uint64(0); sent.Size < size; number++ {
		binary.BigEndian.PutUint64(mine, number)
		n, err := stream.Write(mine[:min(len(mine), size-sent.Size)])
		hash.Write(mine[:n])
		sent.Size += n
		if err != nil {
			return sent, err
		}
	}
	sent.Hash = hex.EncodeToString(hash.Sum(nil))
	return sent, nil
}

// read takes as many bytes as are wanted, or all until the end if none are.
func read(stream *yamux.Stream, size int) (any, error) {
	hash := sha256.New()
	var from io.Reader = stream
	if size > 0 {
		from = io.LimitReader(stream, int64(size))
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{hash}, from, make([]byte, 256<<10))
	return content{int(n), hex.EncodeToString(hash.Sum(nil)), err == nil && (size == 0 || int(n) < size)}, err
}

func (s *session) serveEcho() error {
	for {
		stream, err := s.AcceptStream()
		if err != nil {
			return err
		}
		go func() {
			defer stream.Close()
			_, _ = io.Copy(stream, stream)
		}()
	}
}

// ask opens a stream, sends a question and wants it back.
func (s *session) ask(size int) (any, error) {
	stream, err := s.OpenStream()
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	question := make([]byte, size)
	binary.PutUvarint(question, uint64(stream.StreamID()))
	go stream.Write(question)
	got := make([]byte, size)
	if _, err := io.ReadFull(stream, got); err != nil {
		return nil, err
	}
	if !bytes.Equal(got, question) {
		return nil, fmt.Errorf("peer: stream %d got another answer", stream.StreamID())
	}
	return stream.StreamID(), nil
}

// gatedConn can stop reading, as a process that hangs does.
type gatedConn struct {
	net.Conn
	mutex sync.Mutex
	gate  *sync.Cond
	shut  bool
}

func newGatedConn(conn net.Conn) *gatedConn {
	gated := &gatedConn{Conn: conn}
	gated.gate = sync.NewCond(&gated.mutex)
	return gated
}

func (c *gatedConn) stop() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.shut = true
}

func (c *gatedConn) goOn() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.shut = false
	c.gate.Broadcast()
}

func (c *gatedConn) Read(into []byte) (int, error) {
	c.mutex.Lock()
	for c.shut {
		c.gate.Wait()
	}
	c.mutex.Unlock()
	return c.Conn.Read(into)
}

func (c *gatedConn) Close() error {
	c.goOn()
	return c.Conn.Close()
}

type lockedBuffer struct {
	mutex sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(data []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.Buffer.Write(data)
}

func (b *lockedBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.Buffer.String()
}
