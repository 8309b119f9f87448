;;; ragmacs-srv-test.el --- What the tests of the Emacs package share  -*- lexical-binding: t; -*-

;;; Code:

(require 'ert)
(require 'ragmacs-srv)

(setq ragmacs-srv-command `(,@(split-string (or (getenv "TEST_RAGMACS") "ragmacs")) "serve" "--stdio"))

(defconst ragmacs-srv-test-site (getenv "TEST_SITE")
  "The origin of the site that the server of the tests may read.")

(defmacro ragmacs-srv-test-wait (condition &optional seconds)
  "Wait until CONDITION holds, SECONDS (20) at most, and return it."
  `(let ((deadline (time-add nil (or ,seconds 20))) found)
     (while (not (or (setq found ,condition) (time-less-p deadline nil)))
       (accept-process-output nil 0.02))
     (unless found (error "Not within the time: %S" ',condition))
     found))

(defun ragmacs-srv-test-call (method params &rest keys)
  "Return (ok . RESULT) or (error . ERROR) of METHOD with PARAMS and KEYS."
  (let (done)
    (apply #'ragmacs-srv-request method params
           :success (lambda (result) (push (cons 'ok result) done))
           :failure (lambda (error) (push (cons 'error error) done))
           keys)
    (ragmacs-srv-test-wait done)
    (accept-process-output nil 0.02)
    (should (= (length done) 1))
    (car done)))

(defun ragmacs-srv-test-settled (name)
  "Wait until the buffer NAME waits for nothing, and return its text."
  (ragmacs-srv-test-wait (and (get-buffer name) (map-empty-p ragmacs-srv--requests)))
  (with-current-buffer name
    (buffer-substring-no-properties (point-min) (point-max))))

(defun ragmacs-srv-test-idle (&optional kind)
  "Return non-nil when the server works on nothing of KIND, by default on no answer."
  (let ((status (jsonrpc-request (ragmacs-srv-connection) :server/status nil)))
    (equal 0 (map-nested-elt status `(:server :queue ,(or kind :answer) :running)))))

(defmacro ragmacs-srv-test-messages (&rest body)
  "Run BODY and return what it said in the echo area, newest first."
  `(let (said)
     (cl-letf (((symbol-function 'message)
                (lambda (format &rest args) (when format (push (apply #'format-message format args) said)))))
       ,@body)
     said))

(define-derived-mode go-mode prog-mode "Go"
  "Enough of a mode for Go."
  (setq-local comment-start "// " comment-start-skip "//+ *")
  (modify-syntax-entry ?/ ". 12")
  (modify-syntax-entry ?\n ">"))

(provide 'ragmacs-srv-test)
;;; ragmacs-srv-test.el ends here
