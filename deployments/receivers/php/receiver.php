<?php
// A complete receiver of Popsee webhooks for PHP, with nothing but its standard
// library. Put it behind your web server, or try it with PHP's own:
//   WEBHOOK_SECRET=... php -S 127.0.0.1:8000 receiver.php

declare(strict_types=1);

function answer(int $status): void
{
    http_response_code($status);
    header('Content-Length: 0');
}

// The signature covers the raw bytes. Verify before parsing: JSON that is parsed
// and written again is not the same bytes. $_POST never holds them;
// php://input does.
function genuine(string $body, string $header, string $secret): bool
{
    return hash_equals('sha256=' . hash_hmac('sha256', $body, $secret), $header);
}

// Deliveries already handled, a file each. Keep this where it survives a
// restart: in the same database, and the same transaction, as what you do with
// the event.
function firstTime(string $delivery): bool
{
    $folder = sys_get_temp_dir() . '/popsee-' . hash('sha256', (string) getenv('WEBHOOK_SECRET'));
    @mkdir($folder, 0700);
    $file = @fopen($folder . '/' . hash('sha256', $delivery), 'x'); // fails when it is there
    return $file !== false;
}

function handle(array $event): void
{
    // Your work goes here, or better in a queue: the sender waits five seconds at most.
}

if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    answer(405);
    return;
}
$body = file_get_contents('php://input');
if (!genuine($body, $_SERVER['HTTP_X_POPSEE_SIGNATURE'] ?? '', (string) getenv('WEBHOOK_SECRET'))) {
    answer(401);
    return;
}
$event = json_decode($body, true);
if (!is_array($event)) {
    answer(400);
    return;
}
$delivery = $_SERVER['HTTP_X_POPSEE_DELIVERY'] ?? '';
$first = firstTime($delivery);
error_log(($first ? 'accepted ' : 'duplicate ') . $delivery);
answer(200); // a duplicate was accepted before: say so again
if ($first) {
    if (function_exists('fastcgi_finish_request')) {
        fastcgi_finish_request(); // under PHP-FPM: the answer goes out before the work
    }
    handle($event);
}
