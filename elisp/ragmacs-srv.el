;;; ragmacs-srv.el --- Ask your documentation, with quotes that open  -*- lexical-binding: t; -*-

;; Author: The ragmacs-srv maintainers
;; Version: 0.1.0
;; Package-Requires: ((emacs "28.1"))
;; Keywords: docs, hypermedia, tools
;; URL: https://pypi.org/project/ragmacs-srv/
;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; A client of `ragmacs', which reads documentation, keeps it searchable on
;; this machine, and answers with quotes that can be opened.
;;
;;     (keymap-global-set "C-c r" ragmacs-srv-command-map)
;;
;; Loading this file starts nothing.  The first command starts
;; `ragmacs-srv-command', which relays to the one server that every Emacs and
;; the shell share.  Its answers come while Emacs goes on: what is asked is
;; asked by `ragmacs-srv-request', with callbacks and a timeout of its own,
;; and C-g in the buffer that waits, or `ragmacs-srv-cancel', stops it.
;;
;; What the server can know is no option here: it has a configuration of its
;; own, which `ragmacs config' shows.

;;; Code:

(require 'cl-lib)
(require 'jsonrpc)
(require 'map)
(require 'subr-x)

;;;; Options

(defgroup ragmacs-srv nil
  "Documentation on this machine, with answers that cite it."
  :group 'help
  :group 'hypermedia
  :prefix "ragmacs-srv-")

(defcustom ragmacs-srv-command '("ragmacs" "serve" "--stdio")
  "The program that speaks for the server, and its arguments.
With `--home' and a folder behind them, that folder is used."
  :type '(repeat string))

(defcustom ragmacs-srv-timeout 60
  "Seconds without a word from the server after which a request is given up.
Work that reports how far it is may take longer."
  :type 'number)

;;;; Connection

(defvar ragmacs-srv--connection nil
  "The connection to the server, alive or not, or nil before the first.")

(defvar ragmacs-srv--requests (make-hash-table :test #'equal)
  "What is under way: tokens, and for each its `ragmacs-srv--request'.")

(defvar ragmacs-srv--count 0
  "How many requests this Emacs has made.")

(cl-defstruct ragmacs-srv--request
  "A request under way: its functions, and the timer that gives it up."
  token method success failure on-delta on-progress timeout timer)

(define-error 'ragmacs-srv-error "Ragmacs")

(defun ragmacs-srv-connected-p ()
  "Return non-nil while the program of the server is running."
  (and ragmacs-srv--connection (jsonrpc-running-p ragmacs-srv--connection)))

(defun ragmacs-srv-connection ()
  "Return the connection to the server; start its program if none is running.
Signal a `user-error' when there is no such program."
  (unless (ragmacs-srv-connected-p)
    (setq ragmacs-srv--connection (ragmacs-srv--connect)))
  ragmacs-srv--connection)

(defun ragmacs-srv--connect ()
  "Start `ragmacs-srv-command' and return the connection to it."
  (unless (executable-find (car ragmacs-srv-command))
    (user-error "There is no program %s; install it (pip install ragmacs-srv) or set `ragmacs-srv-command'"
                (car ragmacs-srv-command)))
  (apply #'make-instance 'jsonrpc-process-connection
         :name "ragmacs-srv"
         :process #'ragmacs-srv--process
         :notification-dispatcher #'ragmacs-srv--dispatch
         ;; The log of all messages, off: an answer is many.
         (if (boundp 'jsonrpc-event-hook) ; since Emacs 30
             '(:events-buffer-config (:size 0))
           '(:events-buffer-scrollback-size 0))))

(defun ragmacs-srv--process ()
  "Start `ragmacs-srv-command'."
  (let ((default-directory (expand-file-name "~/"))) ; wherever it is started, it is the same
    (make-process :name "ragmacs-srv"
                  :command ragmacs-srv-command
                  :connection-type 'pipe
                  :coding 'utf-8-emacs-unix
                  :noquery t
                  ;; jsonrpc.el looks for a buffer of this name.
                  :stderr (get-buffer-create "*ragmacs-srv stderr*"))))

(defun ragmacs-srv-disconnect ()
  "Let go of the server, which serves others on."
  (when (ragmacs-srv-connected-p)
    (jsonrpc-notify ragmacs-srv--connection :exit nil) ; jsonrpc.el kills what does not leave
    (jsonrpc-shutdown ragmacs-srv--connection))
  (setq ragmacs-srv--connection nil))

;;;; Requests

;;;###autoload
(cl-defun ragmacs-srv-request (method params &key success failure
                                      on-delta on-progress (timeout ragmacs-srv-timeout))
  "Ask the server for METHOD, a keyword, with PARAMS, a plist; return a token.

Then exactly one of two functions is called, exactly once: SUCCESS with
the result, a plist, or FAILURE with an error, a plist of `:code', `:message',
`:hint' and `:data'.  FAILURE may be called before this function returns;
without it, the error is shown in the echo area.

Meanwhile ON-DELTA is called with each piece of text that is sent ahead, and
ON-PROGRESS with each report, a plist of `:job', `:done', `:total', `:rate',
`:eta_s' and `:message'.  After TIMEOUT seconds in which nothing came, the
server is told to stop, and FAILURE is called.

The token is what `ragmacs-srv-cancel-request' takes.  This function signals
nothing."
  (let* ((token (format "%d-%d" (emacs-pid) (cl-incf ragmacs-srv--count)))
         (request (make-ragmacs-srv--request
                   :token token :method method :success (or success #'ignore)
                   :failure (or failure #'ragmacs-srv-show-error)
                   :on-delta (or on-delta #'ignore) :on-progress (or on-progress #'ignore)
                   :timeout timeout)))
    (puthash token request ragmacs-srv--requests)
    (ragmacs-srv--wind request)
    (condition-case err
        (ragmacs-srv--send request params)
      (error (ragmacs-srv--finish token #'ragmacs-srv--request-failure
                                  (list :code -1 :message (error-message-string err)))))
    token))

(defun ragmacs-srv--send (request params)
  "Send REQUEST with PARAMS."
  (let ((token (ragmacs-srv--request-token request)))
    (jsonrpc-async-request
     (ragmacs-srv-connection) (ragmacs-srv--request-method request)
     (append params (list :token token))
     :timeout nil                       ; ours, as jsonrpc.el does not tell the server
     :success-fn (lambda (result)
                   (ragmacs-srv--finish token #'ragmacs-srv--request-success result))
     :error-fn (lambda (error)
                 (ragmacs-srv--finish token #'ragmacs-srv--request-failure
                                      (ragmacs-srv--error error))))))

(defun ragmacs-srv--finish (token function value)
  "End the request TOKEN by what FUNCTION gets of it, called with VALUE."
  (when-let ((request (gethash token ragmacs-srv--requests)))
    (remhash token ragmacs-srv--requests)
    (when (timerp (ragmacs-srv--request-timer request))
      (cancel-timer (ragmacs-srv--request-timer request)))
    ;; An error that left here would keep jsonrpc.el from reading on.
    (with-demoted-errors "ragmacs: %S"
      (funcall (funcall function request) value))))

(defun ragmacs-srv--wind (request)
  "Give REQUEST its whole timeout again."
  (when (timerp (ragmacs-srv--request-timer request))
    (cancel-timer (ragmacs-srv--request-timer request)))
  (setf (ragmacs-srv--request-timer request)
        (run-at-time (ragmacs-srv--request-timeout request) nil
                     #'ragmacs-srv--give-up request)))

(defun ragmacs-srv--give-up (request)
  "End REQUEST, which took too long."
  (ragmacs-srv--stop (ragmacs-srv--request-token request)
                     (list :code -1
                           :message (format "%s: no word from the server for %s seconds"
                                            (substring (symbol-name (ragmacs-srv--request-method request)) 1)
                                            (ragmacs-srv--request-timeout request))
                           :hint "M-x ragmacs-srv-status")))

(defun ragmacs-srv-cancel-request (token)
  "Stop the request TOKEN; its FAILURE is called with the code -32800."
  (ragmacs-srv--stop token (list :code -32800 :message "cancelled")))

(defun ragmacs-srv--stop (token error)
  "Tell the server to stop the request TOKEN, which ends with ERROR."
  (when (gethash token ragmacs-srv--requests)
    (when (ragmacs-srv-connected-p)
      (jsonrpc-notify ragmacs-srv--connection :$/cancelRequest (list :token token)))
    (ragmacs-srv--finish token #'ragmacs-srv--request-failure error)))

(defun ragmacs-srv--error (error)
  "Return ERROR, as jsonrpc.el gives it, with its hint.
Why a server died, its last words may say."
  (pcase-let (((map :code :message :data) error))
    (list :code code
          :message (or message "unknown error")
          :hint (cond ((plist-get data :hint))
                      ((eql code -1) (or (ragmacs-srv--last-words) "the next command starts it again")))
          :data data)))

(defun ragmacs-srv--last-words ()
  "Return the last line that the program wrote to its stderr, or nil."
  (when-let ((buffer (and ragmacs-srv--connection
                          (jsonrpc-stderr-buffer ragmacs-srv--connection))))
    (when (buffer-live-p buffer)
      (with-current-buffer buffer
        (car (last (split-string (buffer-string) "\n" t "[ \t]+")))))))

(defun ragmacs-srv-error-text (error)
  "Return ERROR, as a FAILURE gets it, as one line for a person."
  (pcase-let (((map :message :hint) error))
    (if (member hint '(nil "")) message (format "%s (%s)" message hint))))

(defun ragmacs-srv-show-error (error)
  "Show ERROR, as a FAILURE gets it, in the echo area."
  (message "ragmacs: %s" (ragmacs-srv-error-text error)))

(cl-defun ragmacs-srv-request-and-wait (method params &key (timeout ragmacs-srv-timeout))
  "Return the result of METHOD with PARAMS; Emacs waits, and a quit cancels.
Signal a `user-error' that says what went wrong, also after TIMEOUT seconds.
For commands that have nothing to do before it comes; never for a filter or a
timer."
  (let* (result failed
         (token (ragmacs-srv-request method params :timeout timeout
                                     :success (lambda (value) (setq result value))
                                     :failure (lambda (error) (setq failed error)))))
    (unwind-protect
        (while (gethash token ragmacs-srv--requests)
          (accept-process-output nil 0.1))
      (ragmacs-srv-cancel-request token))
    (when failed
      (user-error "%s" (ragmacs-srv-error-text failed)))
    result))

;;;; What the server says by itself

(cl-defgeneric ragmacs-srv-handle-notification (method &rest params)
  "Take the notification METHOD, a symbol, with its PARAMS.
Those that nothing knows are dropped."
  (ignore method params))

(cl-defmethod ragmacs-srv-handle-notification ((_ (eql '$/delta)) &rest params)
  "Hand the text in PARAMS to the request that it is a piece of."
  (ragmacs-srv--tell params #'ragmacs-srv--request-on-delta (plist-get params :text)))

(cl-defmethod ragmacs-srv-handle-notification ((_ (eql '$/progress)) &rest params)
  "Hand PARAMS to the request that they are the progress of."
  (ragmacs-srv--tell params #'ragmacs-srv--request-on-progress params))

(defun ragmacs-srv--tell (params function value)
  "Call what FUNCTION gets of the request whose token is in PARAMS with VALUE."
  (when-let ((request (gethash (plist-get params :token) ragmacs-srv--requests)))
    (ragmacs-srv--wind request)
    (funcall (funcall function request) value)))

(defun ragmacs-srv--dispatch (_connection method params)
  "Handle the notification METHOD with PARAMS; an error in that is only shown."
  (with-demoted-errors "ragmacs: %S"
    (apply #'ragmacs-srv-handle-notification method params)))

(provide 'ragmacs-srv)
;;; ragmacs-srv.el ends here
