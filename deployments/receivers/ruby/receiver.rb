# A complete receiver of Popsee webhooks for Ruby, with nothing but its standard
# library. Run it:  WEBHOOK_SECRET=... PORT=8000 ruby receiver.rb
#
# In a Rails or Rack application keep `genuine?` and give it
# request.body.read and request.headers["X-Popsee-Signature"].
require "json"
require "openssl"
require "set"
require "socket"

SECRET = ENV.fetch("WEBHOOK_SECRET")
MAX_BODY = 8 * 1024 * 1024 # more than any event

# The signature covers the raw bytes. Verify before parsing: JSON that is parsed
# and written again is not the same bytes.
def genuine?(body, header)
  expected = "sha256=" + OpenSSL::HMAC.hexdigest("SHA256", SECRET, body)
  OpenSSL.secure_compare(expected, header.to_s)
end

# Deliveries already handled. Keep this where it survives a restart: in the same
# database, and the same transaction, as what you do with the event.
SEEN = Set.new
LOCK = Mutex.new

def first_time?(delivery)
  LOCK.synchronize { !SEEN.add?(delivery).nil? }
end

def handle(event)
  # Your work goes here, after the answer: the sender waits five seconds at most.
end

# receive decides the status of one request, and returns the event to work on.
def receive(method, headers, body)
  return 405 unless method == "POST"
  return 401 unless genuine?(body, headers["x-popsee-signature"])

  event = JSON.parse(body)
  delivery = headers["x-popsee-delivery"]
  unless first_time?(delivery)
    puts "duplicate #{delivery}"
    return 200 # it was accepted before: say so again
  end
  puts "accepted #{delivery}"
  [200, event]
rescue JSON::ParserError
  400
end

# serve speaks as much HTTP/1.1 as a webhook needs; a web framework does this
# for you.
def serve(socket)
  while (line = socket.gets)
    method, = line.split
    headers = {}
    while (line = socket.gets&.chomp) && !line.empty?
      name, value = line.split(":", 2)
      headers[name.downcase] = value.to_s.strip
    end
    size = headers["content-length"].to_i
    break if size > MAX_BODY

    status, event = receive(method, headers, size.zero? ? "" : socket.read(size))
    socket.write("HTTP/1.1 #{status} .\r\nContent-Length: 0\r\n\r\n")
    handle(event) if event
  end
rescue SystemCallError, IOError
  # the sender has gone
ensure
  socket.close
end

$stdout.sync = true
server = TCPServer.new("127.0.0.1", Integer(ENV.fetch("PORT", "8000")))
puts "listening on http://127.0.0.1:#{server.addr[1]}"
loop { Thread.new(server.accept) { |socket| serve(socket) } }
