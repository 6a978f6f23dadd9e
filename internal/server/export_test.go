package server

// Break closes the listener behind the server's back.
func (s *Server) Break() error { return s.listener.Close() }
