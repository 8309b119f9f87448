;;; ragmacs-srv-tests.el --- The connection to the server  -*- lexical-binding: t; -*-

;;; Code:

(require 'ragmacs-srv-test)

(ert-deftest ragmacs-srv-text-of-all-planes-comes-back ()
  (pcase-let ((`(ok . ,result) (ragmacs-srv-test-call :ping '(:text "Größe 漢字 🙂"))))
    (should (equal (plist-get result :text) "Größe 漢字 🙂"))))

(ert-deftest ragmacs-srv-params-may-be-missing ()
  (let ((connection (ragmacs-srv-connection)))
    (should (equal (jsonrpc-request connection :ping nil) '(:text "")))
    (should (equal (jsonrpc-request connection :ping (make-hash-table)) '(:text "")))
    (should (plist-get (jsonrpc-request connection :initialize nil) :version))))

(ert-deftest ragmacs-srv-an-error-has-a-code-and-a-hint ()
  (pcase-dolist (`(,method ,params ,code ,hint)
                 '((:no/such/method nil -32601 "no/such/method")
                   (:search (:query 1 :unknown 2) -32602 "query")
                   (:tools/call (:name "struct_layou") -32602 "struct_layou")))
    (pcase-let* ((`(error . ,error) (ragmacs-srv-test-call method params)))
      (should (eql (plist-get error :code) code))
      (should (string-search hint (ragmacs-srv-error-text error))))))

(ert-deftest ragmacs-srv-a-request-that-takes-too-long-is-stopped-and-the-next-one-works ()
  (pcase-let ((`(error . ,error) (ragmacs-srv-test-call :debug/sleep '(:seconds 50) :timeout 0.3)))
    (should (eql (plist-get error :code) -1))
    (should (string-search "no word" (plist-get error :message))))
  (should (eq (car (ragmacs-srv-test-call :ping nil)) 'ok))
  (ragmacs-srv-test-wait (ragmacs-srv-test-idle)))

(ert-deftest ragmacs-srv-a-cancelled-request-fails-once-and-the-server-is-idle-again ()
  (let* (errors (token (ragmacs-srv-request :debug/sleep '(:seconds 50)
                                            :failure (lambda (error) (push error errors)))))
    (ragmacs-srv-test-wait (not (ragmacs-srv-test-idle)))
    (ragmacs-srv-cancel-request token)
    (ragmacs-srv-cancel-request token)
    (ragmacs-srv-test-wait (ragmacs-srv-test-idle))
    (should (equal (mapcar (lambda (each) (plist-get each :code)) errors) '(-32800)))))

(ert-deftest ragmacs-srv-quitting-cancels-what-emacs-waits-for ()
  (ragmacs-srv-connection)
  (run-at-time 0.5 nil (lambda () (setq quit-flag t)))
  (should (eq (condition-case nil
                  (ragmacs-srv-request-and-wait :debug/sleep '(:seconds 50))
                (quit 'quit))
              'quit))
  (should (map-empty-p ragmacs-srv--requests))
  (ragmacs-srv-test-wait (ragmacs-srv-test-idle)))

(ert-deftest ragmacs-srv-a-killed-server-fails-what-waits-and-the-next-request-starts-one ()
  (let* ((status (ragmacs-srv-request-and-wait :server/status nil))
         (pid (plist-get (plist-get status :server) :pid))
         failed)
    (ragmacs-srv-request :debug/sleep '(:seconds 50) :failure (lambda (error) (setq failed error)))
    (ragmacs-srv-test-wait (not (ragmacs-srv-test-idle)))
    (signal-process pid 'KILL)
    (ragmacs-srv-test-wait failed)
    (should (eql (plist-get failed :code) -1))
    (should (plist-get failed :hint))
    (let ((new (plist-get (plist-get (ragmacs-srv-request-and-wait :server/status nil) :server) :pid)))
      (should-not (eql new pid)))))

(ert-deftest ragmacs-srv-a-missing-program-fails-the-request-and-says-how-to-get-it ()
  (let* ((ragmacs-srv-command '("no-such-ragmacs"))
         failed)
    (should (stringp (ragmacs-srv-request :ping nil :failure (lambda (error) (setq failed error)))))
    (should (string-search "pip install" (plist-get failed :message)))
    (should (map-empty-p ragmacs-srv--requests))))

(ert-deftest ragmacs-srv-a-program-that-dies-at-once-is-quoted ()
  (let* ((ragmacs-srv-command '("sh" "-c" "echo the disk is gone >&2; echo hint: buy one >&2; exit 3")))
    (pcase-let ((`(error . ,error) (ragmacs-srv-test-call :ping nil)))
      (should (string-search "the disk is gone; hint: buy one" (ragmacs-srv-error-text error))))
    (should-not (ragmacs-srv-connected-p))))

(ert-deftest ragmacs-srv-callbacks-that-signal-do-not-stop-the-connection ()
  (let* (debug-on-error                 ; as it is outside of tests
         (messages (ragmacs-srv-test-messages
                    (let ((token (ragmacs-srv-request :ping nil :success (lambda (_) (error "Kaboom")))))
                      (ragmacs-srv-test-wait (not (gethash token ragmacs-srv--requests)))))))
    (should (seq-some (lambda (each) (string-search "Kaboom" each)) messages))
    (should (eq (car (ragmacs-srv-test-call :ping nil)) 'ok))))

(ert-deftest ragmacs-srv-two-emacsen-share-one-server ()
  (let* ((pid (lambda (connection)
                (plist-get (plist-get (jsonrpc-request connection :server/status nil) :server) :pid)))
         (ours (ragmacs-srv-connection))
         (theirs (ragmacs-srv--connect)))
    (should (eql (funcall pid ours) (funcall pid theirs)))
    (let ((crawl '(:targets ["https://go.dev/doc/two"] :name "two" :depth 0)))
      (should (plist-get (jsonrpc-request theirs :index/crawl crawl :timeout 30) :crawls)))
    (should (plist-get (jsonrpc-request ours :search '(:query "GOGC")) :results))
    (jsonrpc-shutdown theirs)
    (should (plist-get (jsonrpc-request ours :search '(:query "GOGC")) :results))))

;;; ragmacs-srv-tests.el ends here
